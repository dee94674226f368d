"""Predictions as a function of columns: the same as `predict`, wherever an expression may stand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import column
from zoo.orca.errors import DeviceError, InvalidInputError, MissingPackageError

pytestmark = pytest.mark.timeout(300)

_ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"


@pytest.fixture
def small_batches(spark: SparkSession) -> Iterator[None]:
    before = spark.conf.get(_ARROW_ROWS)
    spark.conf.set(_ARROW_ROWS, 70)
    yield
    spark.conf.set(_ARROW_ROWS, before)


def trained(spark: SparkSession, features: Any, numbers: int) -> FakeEstimator:
    """An estimator that has seen these columns of `rows`."""
    est = FakeEstimator.of(linear(features=numbers, rate=0.01))
    est.fit(rows(spark, 50), features, labels=("id",))
    return est


def rows(spark: SparkSession, count: int) -> DataFrame:
    """Columns of every kind that a model may have."""
    whole = spark.range(0, count, 1, 3).select(
        "id",
        (F.col("id") % 7).cast("double").alias("a"),
        (F.col("id") % 5).cast("short").alias("b"),
        (F.col("id") / 9).cast("decimal(12, 5)").alias("d"),
        (F.col("id") % 2 == 0).alias("yes"),
        F.array(F.col("id") / 3, F.lit(2.5)).alias("pair"),
        F.transform(F.sequence(F.lit(1), F.col("id") % 4), lambda one: one).alias("history"),
    )
    vector = F.udf(
        lambda number: Vectors.dense(number, 1.0) if number % 2 else Vectors.sparse(2, {1: 3.0}),
        Vectors.dense(0.0).__UDT__,
    )
    return whole.withColumn("vector", vector("id"))


KINDS: dict[str, tuple[Any, int]] = {
    "numbers": (["a", "b", "d"], 3),
    "array": (["pair"], 2),
    "vector": (["vector"], 2),
    "stack": ([["a", "b", "yes", "pair", "vector"]], 7),
    "padded": ([column("history", pad=0, length=3)], 3),
    "named": ({"second": "a", "first": "b"}, 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_gives_what_predict_gives(
    spark: SparkSession, small_batches: None, kind: str
) -> None:
    est = trained(spark, *KINDS[kind])
    frame = rows(spark, 500)
    expected = [row.prediction for row in est.predict(frame, None).collect()]
    assert len(set(expected)) > 2
    found = frame.withColumn("score", est.predict_udf()())
    assert [row.score for row in found.collect()] == expected
    assert found.columns == [*frame.columns, "score"]


@pytest.fixture(scope="module")
def estimator(spark: SparkSession) -> FakeEstimator:
    return trained(spark, ["a", "b"], 2)


def test_columns_go_by_their_order(spark: SparkSession, estimator: FakeEstimator) -> None:
    frame = rows(spark, 100)
    score = estimator.predict_udf()
    renamed = frame.select("id", F.col("a").alias("x"), F.col("b").alias("y"))
    expected = estimator.predict(frame, None).select("prediction").collect()
    for given in (score("x", "y"), score(F.col("x"), F.col("y") + 0)):
        assert renamed.select(given.alias("prediction")).collect() == expected
    swapped = frame.select(F.col("b").alias("a"), F.col("a").alias("b"))
    other = estimator.predict(swapped, None).select("prediction").collect()
    assert renamed.select(score("y", "x").alias("prediction")).collect() == other != expected


def test_a_function_of_sql(spark: SparkSession, estimator: FakeEstimator) -> None:
    rows(spark, 200).createOrReplaceTempView("column_function_rows")
    spark.udf.register("score", estimator.predict_udf(output_type="class", threshold=20.0))
    told = estimator.predict(spark.table("column_function_rows"), None).collect()
    expected = [int(row.prediction > 20.0) for row in told]
    found = spark.sql("SELECT score(a, b) AS told FROM column_function_rows ORDER BY id").collect()
    assert [row.told for row in found] == expected and set(expected) == {0, 1}
    ones = spark.sql("SELECT count(*) AS n FROM column_function_rows WHERE score(a, b) = 1")
    assert ones.first().n == sum(expected)
    # Literals have types of their own: a decimal and an int.
    (one,) = spark.sql("SELECT score(6.0, 4) AS told").collect()
    weights = estimator.weights
    assert one.told == int(6.0 * weights[0] + 4 * weights[1] > 20.0)


def test_a_stream(spark: SparkSession, estimator: FakeEstimator, tmp_path: Any) -> None:
    frame = rows(spark, 120).select("id", "a", "b")
    frame.write.parquet(str(tmp_path / "in"))
    stream = spark.readStream.schema(frame.schema).parquet(str(tmp_path / "in"))
    query = (
        stream.withColumn("score", estimator.predict_udf()("a", "b"))
        .writeStream.format("parquet")
        .option("checkpointLocation", str(tmp_path / "state"))
        .trigger(availableNow=True)
        .start(str(tmp_path / "out"))
    )
    assert query.awaitTermination(60) and query.exception() is None
    found = spark.read.parquet(str(tmp_path / "out")).orderBy("id").collect()
    expected = estimator.predict(frame, None).orderBy("id").collect()
    assert [row.score for row in found] == [row.prediction for row in expected]


def test_before_any_training_a_dataframe_tells_the_types(spark: SparkSession) -> None:
    est = FakeEstimator.of(linear(features=2))
    with pytest.raises(InvalidInputError, match="has seen no columns yet"):
        est.predict_udf()
    score = est.predict_udf(rows(spark, 5), feature_cols=["a", "b"], output_type="array")
    assert rows(spark, 5).select(score()).collect() == [([0.0],)] * 5


@pytest.mark.parametrize("kind", ["array", "vector", "scalar", None])
def test_output_types(spark: SparkSession, estimator: FakeEstimator, kind: str | None) -> None:
    # Spark gives functions columns of a cached frame, or of Parquet, in another way than its rows.
    frame = rows(spark, 30).select("a", "b").cache()
    found = frame.select(estimator.predict_udf(output_type=kind)().alias("prediction"))
    predicted = estimator.predict(frame, None, output_type=kind).select("prediction")
    assert found.schema == predicted.schema and found.collect() == predicted.collect()
    spark.udf.register("of_kind", estimator.predict_udf(output_type=kind))
    frame.createOrReplaceTempView("column_function_cached")
    told = spark.sql("SELECT of_kind(a, b) AS told FROM column_function_cached").collect()
    given = [row.prediction for row in predicted.collect()]
    # SQL gets arrays in the place of Vectors.
    assert [row.told for row in told] == [list(p) if kind == "vector" else p for p in given]
    frame.unpersist()


def test_a_later_fit_does_not_change_it(spark: SparkSession) -> None:
    est = trained(spark, ["a"], 1)
    frame = rows(spark, 20)
    score = est.predict_udf()
    before = frame.select(score()).collect()
    est.fit(frame, ["a"], labels=("id",))
    assert frame.select(score()).collect() == before
    assert frame.select(est.predict_udf()()).collect() != before


def test_an_empty_partition_and_no_rows(spark: SparkSession, estimator: FakeEstimator) -> None:
    score = estimator.predict_udf()
    frame = rows(spark, 9)
    assert frame.where("id > 1000").select(score()).collect() == []
    assert frame.where("id > 7").repartition(4).select(score()).count() == 1
    assert len(frame.select(score()).limit(2).collect()) == 2


def test_nulls_are_refused_by_name(spark: SparkSession, estimator: FakeEstimator) -> None:
    frame = rows(spark, 30).withColumn("b", F.expr("if(id = 17, null, b)"))
    with pytest.raises(Exception, match=r"DataError.*'b'"):
        frame.select(estimator.predict_udf()()).collect()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("score(a)", r"ColumnError.*got 1 column, and the model has 2: a, b"),
        ("score(a, current_date())", r"ColumnError.*column 'b' has the type date32"),
    ],
)
def test_what_only_the_worker_sees_is_refused_there(
    spark: SparkSession, estimator: FakeEstimator, given: str, told: str
) -> None:
    spark.udf.register("score", estimator.predict_udf())
    with pytest.raises(Exception, match=told):
        rows(spark, 3).selectExpr(given).collect()


def test_the_driver_counts_the_columns(spark: SparkSession, estimator: FakeEstimator) -> None:
    with pytest.raises(InvalidInputError, match="got 3 columns, and the model has 2: a, b"):
        estimator.predict_udf()("a", "b", "d")


def test_what_spark_cannot_do_is_said_before(
    spark: SparkSession, estimator: FakeEstimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.orca.driver.column_function.gpu_profile", lambda *given: object())
    with pytest.raises(DeviceError, match=r"spark.task.resource.gpu.amount"):
        estimator.predict_udf()
    monkeypatch.undo()
    monkeypatch.delattr(F, "arrow_udf")
    with pytest.raises(MissingPackageError, match="pyspark 4.1 or newer"):
        estimator.predict_udf()


@pytest.mark.classic("a server's workers run the Python that it was started with")
def test_a_program_without_a_chosen_python_gives_its_own(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.orca.driver.session import pythons

    context = spark.sparkContext
    monkeypatch.setattr(context, "pythonExec", "python3")
    monkeypatch.setattr(pythons, "_ask", lambda executable: None)
    pythons.keep_own_python(spark)
    assert context.pythonExec == pythons.sys.executable
    monkeypatch.setattr(context, "pythonExec", "/another/python")
    pythons.keep_own_python(spark)
    assert context.pythonExec == "/another/python"


def test_the_weights_are_those_of_the_model(spark: SparkSession, estimator: FakeEstimator) -> None:
    frame = rows(spark, 40).select("a", "b", estimator.predict_udf()().alias("score"))
    found = frame.toPandas()
    expected = found["a"] * estimator.weights[0] + found["b"] * estimator.weights[1]
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
