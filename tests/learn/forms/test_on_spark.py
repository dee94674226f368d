"""Frames that are in Spark: their own session, and lazy answers."""

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.forms.on_spark import SparkForm

pytestmark = pytest.mark.timeout(180)


def test_a_dataframe_is_taken_and_answered_as_it_is(spark: SparkSession) -> None:
    frame = spark.range(8).selectExpr("double(id) as x", "double(id) as y")
    form = SparkForm(frame)
    assert form.frame(spark, Columns("x")) is frame and form.session is frame.sparkSession
    est = FakeEstimator.of(linear())
    est.fit(frame)
    assert isinstance(est.predict(frame), DataFrame)


@pytest.mark.filterwarnings("ignore:`to_pandas` loads all data")
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_frame_of_pandas_on_spark_comes_back_with_its_index(
    spark: SparkSession, levels: int
) -> None:
    import pyspark.pandas as ps

    frame = spark.range(40).selectExpr("id % 7 as one", "id as two", "id / 40 as x", "id / 20 as y")
    index = [None, "one", ["one", "two"]][levels]
    data = ps.DataFrame(frame) if index is None else ps.DataFrame(frame).set_index(index)
    est, same = FakeEstimator.of(linear(), workers=2), FakeEstimator.of(linear(), workers=2)
    assert est.fit(data, shuffle=True).history == same.fit(frame, shuffle=True).history
    found = est.predict(data)
    assert isinstance(found, ps.DataFrame)
    assert list(found.columns) == [*data.columns, "prediction"]
    assert list(found.index.names) == list(data.index.names)
    there = found.to_pandas()
    np.testing.assert_allclose(there["prediction"], there["x"] * est.weights[0], rtol=1e-5)
    assert there.index.tolist() == data.to_pandas().index.tolist()
