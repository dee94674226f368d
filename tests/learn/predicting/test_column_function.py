"""Functions of columns with real frameworks: several outputs, and strings where there are some."""

from typing import Any

import pytest
from pyspark.sql import SparkSession

from zoo.orca.errors import ColumnError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def two_heads(config: dict[str, Any]) -> Any:
    from torch import nn

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.size = nn.Linear(2, 3), nn.Linear(2, 1)

        def forward(self, x: Any, y: Any) -> Any:
            import torch

            both = torch.stack([x, y], 1)
            return {"kind": self.kind(both), "size": self.size(both)[:, 0]}

    return Heads()


def test_several_outputs_are_a_struct(spark: SparkSession) -> None:
    from zoo.orca.learn.pytorch import Estimator

    frame = spark.range(200).selectExpr("id", "id / 7 as x", "cast(id % 5 as int) as y")
    est = Estimator.from_torch(model=two_heads, seed=3)
    wanted = {"output_type": {"kind": "class"}, "labels": {"kind": ["a", "b", "c"]}}
    predicted = est.predict(frame, feature_cols=["x", "y"], **wanted).collect()
    spark.udf.register("heads", est.predict_udf(frame, feature_cols=["x", "y"], **wanted))
    frame.createOrReplaceTempView("heads_rows")
    found = spark.sql("SELECT heads(x, y) AS h FROM heads_rows")
    assert found.schema["h"].dataType.simpleString() == "struct<kind:string,size:float>"
    rows = [(row.h.kind, row.h["size"]) for row in found.collect()]
    assert rows == [(row.prediction_kind, row.prediction_size) for row in predicted]
    text = frame.selectExpr("cast(x as string) as x", "y")
    with pytest.raises(ColumnError, match="'x' holds strings, and PyTorch has no tensors"):
        est.predict_udf(text, feature_cols=["x", "y"])
    names = est.predict_udf(frame, feature_cols=["x", "y"], output_cols={"kind": "k", "size": "s"})
    assert frame.select(names().alias("h")).selectExpr("h.k", "h.s").columns == ["k", "s"]
