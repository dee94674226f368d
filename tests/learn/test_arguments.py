"""Mistakes that are known before anything starts."""

import sys

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.errors import InvalidInputError, MissingPackageError

pytestmark = pytest.mark.timeout(120)


def creator(config):
    raise AssertionError("never called here")


def make(framework):
    """Make an estimator of each framework."""
    if framework == "torch":
        from zoo.orca.learn.pytorch import Estimator

        return Estimator.from_torch(model=creator, optimizer=creator, loss=creator)
    if framework == "tf2":
        from zoo.orca.learn.tf2 import Estimator
    else:
        from zoo.orca.learn.keras import Estimator
    kind = {} if framework == "tf2" else {"keras_backend": framework.partition("-")[2]}
    return Estimator.from_keras(model_creator=creator, **kind)


MISSING = [
    ("tf2", "tensorflow", "'zoo-orca[tf2]'"),
    ("torch", "torch", "'zoo-orca[torch]'"),
    ("keras-jax", "keras", "'zoo-orca[keras]'"),
    ("keras-jax", "jax", "'zoo-orca[keras]'"),
    ("keras-torch", "torch", "torch"),
]


@pytest.mark.parametrize(("framework", "package", "install"), MISSING)
def test_a_missing_framework_is_found_before_anything_starts(
    spark: SparkSession, monkeypatch, framework: str, package: str, install: str
) -> None:
    made = make(framework)
    frame = spark.range(4).selectExpr("double(id) as x", "double(id) as y")
    monkeypatch.setitem(sys.modules, package, None)
    spark.sparkContext.setJobGroup("missing", framework)
    for call in (
        lambda: make(framework),
        lambda: made.fit(frame, feature_cols="x", label_cols="y"),
        lambda: made.predict(frame, feature_cols="x"),
    ):
        with pytest.raises(MissingPackageError) as caught:
            call()
        first, second = str(caught.value).splitlines()
        assert first.startswith(
            f"the package {package!r} is not installed in this program's Python"
        )
        assert second == f"Install it: {sys.executable} -m pip install {install}"
    assert spark.sparkContext.statusTracker().getJobIdsForGroup("missing") == []


@pytest.fixture
def stream(spark: SparkSession, tmp_path):
    """A stream of four rows."""
    rows = spark.range(4).selectExpr("double(id) as x", "double(id) as y")
    rows.write.parquet(str(tmp_path / "rows"))
    return spark.readStream.schema(rows.schema).parquet(str(tmp_path / "rows"))


def test_a_stream_is_refused_with_the_way_to_train_on_its_batches(stream, tmp_path) -> None:
    est = FakeEstimator.of(linear(1))
    for call, name in ((est.fit, "fit"), (est.evaluate, "evaluate")):
        with pytest.raises(InvalidInputError) as caught:
            call(stream)
        first, second = str(caught.value).splitlines()
        assert first == f"{name} got a streaming DataFrame, which never ends"
        way = second.partition(": ")[2]
        assert way == f"stream.writeStream.foreachBatch(lambda batch, n: est.{name}(batch, ...))"
    bounded = stream.sparkSession.createDataFrame([(1.0, 2.0)], "x double, y double")
    with pytest.raises(InvalidInputError, match="streaming DataFrame as validation_data"):
        est.fit(bounded, validation=stream)
    # The way out, run as it is written.
    way = "stream.writeStream.foreachBatch(lambda batch, n: est.fit(batch, ['x']))"
    query = eval(way, {"stream": stream, "est": est})
    query.option("checkpointLocation", str(tmp_path / "at"))
    query.trigger(availableNow=True).start().awaitTermination()
    assert est._epochs_done == 1


def test_another_python_may_have_what_this_one_lacks(spark: SparkSession, monkeypatch) -> None:
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/opt/other/python")
    monkeypatch.setitem(sys.modules, "torch", None)
    make("torch")
