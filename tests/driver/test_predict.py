"""Predictions through Spark with a framework in numpy: rows, order, early ends, faults."""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.errors import PythonException
from pyspark.ml.linalg import SparseVector, Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.predict import Answer, predict_lazily
from zoo.orca.driver.stage import run_stage
from zoo.orca.errors import ColumnError
from zoo.orca.frameworks.fake import LinearModel
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import ModelSpec, PredictJob
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import pack

pytestmark = pytest.mark.timeout(120)

_ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"


@pytest.fixture
def arrow_rows(spark: SparkSession) -> Iterator[Any]:
    """Set how many rows an Arrow batch has, for one test."""
    before = spark.conf.get(_ARROW_ROWS)
    yield lambda rows: spark.conf.set(_ARROW_ROWS, rows)
    spark.conf.set(_ARROW_ROWS, before)


@pytest.fixture(scope="module")
def estimator(spark: SparkSession) -> FakeEstimator:
    """Predicts a little more than nothing for each x."""
    rows = spark.range(101).select((F.col("id") / 100).alias("x"), F.col("id").alias("y"))
    trained = FakeEstimator.of(linear())
    trained.fit(rows)
    return trained


def numbered(spark: SparkSession, rows: int, partitions: int = 1) -> DataFrame:
    """Rows with their number as `id` and as the feature `x`, a float already."""
    return spark.range(0, rows, 1, partitions).select("id", F.col("id").cast("float").alias("x"))


@pytest.mark.parametrize(("size", "rows"), [(1, 40), (7, 1000), (1000, 3001), (0, 3001)])
def test_any_arrow_batch_gives_the_same_in_order(
    spark: SparkSession, estimator: FakeEstimator, arrow_rows: Any, size: int, rows: int
) -> None:
    arrow_rows(size)
    found = estimator.predict(numbered(spark, rows, 2)).toPandas()
    np.testing.assert_array_equal(found["id"], np.arange(rows))
    expected = (np.arange(rows) * float(estimator.weights[0])).astype(np.float32)
    np.testing.assert_allclose(found["prediction"], expected, rtol=1e-6)


def test_limit_and_then_everything(
    spark: SparkSession, estimator: FakeEstimator, arrow_rows: Any
) -> None:
    arrow_rows(50)
    predicted = estimator.predict(numbered(spark, 5000, 2))
    for few in (1, 60, 700):
        assert [row.id for row in predicted.limit(few).collect()] == list(range(few))
    taken = itertools.islice(predicted.toLocalIterator(), 3)
    assert [row.id for row in taken] == [0, 1, 2]
    assert predicted.count() == 5000
    assert predicted.selectExpr("sum(prediction)").first()[0] > 0


def test_a_null_in_a_later_batch_is_named(
    spark: SparkSession, estimator: FakeEstimator, arrow_rows: Any
) -> None:
    arrow_rows(100)
    frame = numbered(spark, 5000).withColumn("x", F.expr("if(id = 4321, null, x)"))
    with pytest.raises(Exception, match=r"DataError.*'x'"):
        estimator.predict(frame).collect()
    assert estimator.predict(numbered(spark, 10)).count() == 10


def test_a_child_killed_while_it_predicts(spark: SparkSession, arrow_rows: Any) -> None:
    arrow_rows(10)

    class Fatal(LinearModel):
        """Its process ends when the weights are asked for the fourth time."""

        asked = 0

        def __getattribute__(self, name: str) -> Any:
            if name == "weights":
                self.asked += 1
                if self.asked == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().__getattribute__(name)

    predicted = FakeEstimator.of(lambda config: Fatal(features=1)).predict(numbered(spark, 5000))
    with pytest.raises(Exception, match=r"WorkerDiedError.*SIGKILL"):
        predicted.collect()


def test_kept_vectors_and_features_that_are_converted(
    spark: SparkSession, estimator: FakeEstimator
) -> None:
    vectors = [(Vectors.sparse(3, {1: 2.0}), 1.5), (Vectors.dense(1, 2, 3), 2.5)]
    predicted = estimator.predict(spark.createDataFrame(vectors, ["v", "x"]))
    assert predicted.columns == ["v", "x", "prediction"]
    first, second = predicted.collect()
    assert isinstance(first.v, SparseVector)
    assert (first.x, second.x) == (1.5, 2.5)
    assert second.prediction == pytest.approx(2.5 * float(estimator.weights[0]), rel=1e-6)


def test_the_types_of_the_columns_are_enough_to_build_a_model(spark: SparkSession) -> None:
    """No row is read for it: there may be none, or a first one that nobody asks for."""
    est = FakeEstimator.of(linear())
    empty = est.predict(numbered(spark, 0))
    assert empty.columns == ["id", "x", "prediction"] and empty.count() == 0
    frame = numbered(spark, 10).withColumn("x", F.expr("if(id = 0, null, x)"))
    est = FakeEstimator.of(linear())
    assert est.predict(frame).columns == ["id", "x", "prediction"]
    assert est.predict(frame.where("id > 0")).count() == 9


def test_a_model_that_was_loaded_is_not_built_again(
    spark: SparkSession, estimator: FakeEstimator, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = estimator.save(str(tmp_path / "linear"))
    loaded = FakeEstimator.of(linear())
    loaded.load(path)

    def refuse(*arguments: Any) -> Any:
        raise AssertionError("a job was started")

    monkeypatch.setattr("zoo.orca.driver.request.run_stage", refuse)
    # What is known of the model is not computed again for each call.
    monkeypatch.setattr(ModelSpec, "fingerprint", refuse)
    # Nor are the columns to be named again.
    found = loaded.predict(numbered(spark, 20), None)
    assert found.collect() == estimator.predict(numbered(spark, 20), None).collect()


def test_a_build_leaves_the_columns_that_training_has_seen(
    spark: SparkSession, estimator: FakeEstimator, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []

    def run(*given: Any) -> Any:
        outcomes.append(run_stage(*given))
        return outcomes[-1]

    monkeypatch.setattr("zoo.orca.driver.request.run_stage", run)
    path = estimator.save(str(tmp_path / "linear"))
    loaded = FakeEstimator.of(linear(rate=0.2))  # its outputs are unknown, so that it is built
    loaded.load(path)
    frame = numbered(spark, 20)
    renamed = frame.withColumnRenamed("x", "z")
    found = [row.prediction for row in loaded.predict(renamed, ["z"]).collect()]
    assert found == [row.prediction for row in estimator.predict(frame).collect()]
    # The driver has the state already.
    assert [outcome.state for outcome in outcomes] == [b""]
    assert loaded._known_columns(None) == (["x"], ["y"])
    labelled = frame.withColumn("y", F.col("id"))
    assert loaded.evaluate(labelled, None) == estimator.evaluate(labelled, None)


def test_names_that_are_taken_are_refused_and_others_are_not(
    spark: SparkSession, estimator: FakeEstimator
) -> None:
    once = estimator.predict(numbered(spark, 5))
    with pytest.raises(ColumnError) as caught:
        estimator.predict(once)
    first, second = str(caught.value).splitlines()
    assert "already has a column 'prediction'" in first and "output_cols" in second
    for mended in (once.drop("prediction"), once.withColumnRenamed("prediction", "first")):
        assert estimator.predict(mended).columns[-1] == "prediction"
    twice = (OutputSpec(name="out", dtype="float32", row_shape=()),) * 2
    job = PredictJob(
        model=ModelSpec(framework="fake", creator=b"", config=b""),
        columns=FeatureSpec(features=()),
        state=None,
        seed=0,
        outputs=twice,
    )
    with pytest.raises(ColumnError) as caught:
        predict_lazily(once, job, ["o", "O"], Answer())
    first, second = str(caught.value).splitlines()
    assert "two outputs would be the column 'O'" in first and "output_cols" in second
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        assert (
            predict_lazily(once, job, ["PREDICTION", "prediction2"], Answer()).columns[-2]
            == "PREDICTION"
        )
        with pytest.raises(ColumnError, match="two outputs"):
            predict_lazily(once, job, ["o", "o"], Answer())
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_stream_is_predicted(
    spark: SparkSession, estimator: FakeEstimator, tmp_path: Any
) -> None:
    numbered(spark, 30).write.parquet(str(tmp_path / "rows"))
    stream = spark.readStream.schema("id bigint, x float").parquet(str(tmp_path / "rows"))
    for est in (estimator, FakeEstimator.of(linear())):
        query = (
            est.predict(stream)
            .writeStream.format("memory")
            .queryName("predicted")
            .option("checkpointLocation", str(tmp_path / f"state-{id(est)}"))
            .trigger(availableNow=True)
            .start()
        )
        assert query.awaitTermination(60)
        assert spark.table("predicted").count() == 30
    spark.catalog.dropTempView("predicted")


@pytest.mark.classic("a server puts words of its own around what a task raises")
def test_an_error_of_a_prediction_begins_with_its_cause(spark: SparkSession) -> None:
    estimator = FakeEstimator.of(linear(1))
    frame = spark.range(4).select(F.col("id").cast("double").alias("x"), F.lit(1.0).alias("y"))
    estimator.fit(frame)

    def creator(config: dict[str, Any]) -> Any:
        raise ValueError("no such vocabulary")

    requests = estimator._requests
    requests._model = replace(requests._model, creator=pack(creator, "model_creator"))
    with pytest.raises(PythonException) as caught:
        estimator.predict(frame).collect()
    lines = str(caught.value).splitlines()
    assert lines[:2] == [
        "An exception was thrown from the Python worker:",
        "zoo.orca.errors.WorkerError: ValueError: no such vocabulary",
    ]
    assert lines[2].startswith(f'  File "{__file__}", line ') and lines[2].endswith("in creator")
    assert "predict_task.py" not in str(caught.value)


def test_scoring_finds_the_children_of_the_fit(spark: SparkSession, tmp_path: Path) -> None:
    """However many tasks it has, and whichever Python workers Spark gives them to."""

    def noted(config: dict[str, object]) -> object:
        (tmp_path / str(os.getpid())).touch()
        return linear()(config)

    def rows(partitions: int) -> DataFrame:
        ids = spark.range(0, 100, 1, partitions)
        return ids.select((F.col("id") / 100).alias("x"), F.col("id").alias("y"))

    # No other test's children have this variable.
    estimator = FakeEstimator.of(noted, 1, environment={"OF_THIS_TEST": str(tmp_path)})
    estimator.fit(rows(4), validation=rows(2))
    children = {path.name for path in tmp_path.iterdir()}
    assert len(children) == 1
    predicted = estimator.predict_udf(rows(1))
    for partitions in (1, 2, 4):
        assert estimator.predict(rows(partitions)).where("prediction < 1e9").count() == 100
        estimator.evaluate(rows(partitions))
        frame = rows(partitions).withColumn("p", predicted("x"))
        assert frame.where("p < 1e9").count() == 100
    assert {path.name for path in tmp_path.iterdir()} == children
