"""Regressors of each framework."""

import numpy as np
import pytest
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.sql.types import DoubleType

from tests.ml.models import regressor
from zoo.orca.errors import ColumnError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("framework", ["jax", "tf2", "torch"])
def test_a_regressor_is_orcas_estimator(table, framework):
    stage = regressor(framework)
    model = stage.fit(table)
    by_hand = stage._made()
    stats = by_hand.fit(
        table,
        epochs=2,
        batch_size=40,
        feature_cols=["features"],
        label_cols=["size"],
        verbose=0,
    )
    assert model.summary.history == stats.history
    found = model.transform(table)
    assert found.schema["prediction"].dataType == DoubleType()
    assert found.columns == [*table.columns, "prediction"]
    rows = found.orderBy("id").collect()
    plain = by_hand.predict(table, feature_cols=["features"]).orderBy("id").collect()
    expected = [float(np.ravel(row.prediction)[0]) for row in plain]
    assert [row.prediction for row in rows] == expected
    error = RegressionEvaluator(labelCol="size", metricName="mse").evaluate(found)
    sizes = np.array([row["size"] for row in rows])
    assert error == pytest.approx(((sizes - expected) ** 2).mean())


def test_labels_that_are_no_numbers_are_refused(table):
    words = table.withColumn("size", table["size"].cast("string"))
    with pytest.raises(ColumnError, match="column 'size' is a string, and labels are numbers\n"):
        regressor("torch").fit(words)
