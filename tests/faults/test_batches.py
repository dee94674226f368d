"""How many rows Spark puts into one batch changes no result, be it one or all that there are."""

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.faults.table import came_out

pytestmark = pytest.mark.timeout(120)

ROWS_OF_A_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """300 rows of one feature."""
    return spark.range(0, 300, 1, 5).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()


def results(rows: DataFrame) -> list[Any]:
    """Train, evaluate and predict on two workers; return all that comes of it."""
    estimator = FakeEstimator.of(linear(), 2)
    stats = estimator.fit(rows, epochs=2, validation=rows)
    predicted = estimator.predict(rows).collect()
    return [estimator.weights.tolist(), stats.history, estimator.evaluate(rows), predicted]


@pytest.fixture(scope="module")
def plain(rows: DataFrame) -> list[Any]:
    """What comes of it by default."""
    return results(rows)


@pytest.mark.fault("Spark puts 1 row, 7 or all into an Arrow batch")
@pytest.mark.parametrize("count", ["0", "1", "7"])
def test_any_number_of_rows_in_a_batch(
    spark: SparkSession, rows: DataFrame, plain: list[Any], count: str
) -> None:
    before = spark.conf.get(ROWS_OF_A_BATCH)
    spark.conf.set(ROWS_OF_A_BATCH, count)
    try:
        assert results(rows) == plain
        came_out("goes on, and equals the run with batches of Spark's size")
    finally:
        spark.conf.set(ROWS_OF_A_BATCH, before or "10000")
