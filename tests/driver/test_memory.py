"""fit and evaluate of more rows than the data budget holds, through Spark."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.errors import InvalidInputError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """5,000 rows of y = 2 x; with the label eight bytes each, and their places as many."""
    return (
        spark.range(5000).select("id", (F.rand(1) - 0.5).alias("x")).withColumn("y", 2 * F.col("x"))
    )


@contextmanager
def budget(spark: SparkSession, size: str) -> Iterator[None]:
    """The data budget of the jobs inside."""
    spark.conf.set("spark.orca.data.memory", size)
    try:
        yield
    finally:
        spark.conf.unset("spark.orca.data.memory")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fit_uses_every_row_once_an_epoch(
    spark: SparkSession, rows: DataFrame, workers: int
) -> None:
    # In batches of all rows the order does not matter: only that each row is there, and once.
    whole, windowed = (FakeEstimator.of(linear(1), workers) for _ in range(2))
    expected = whole.fit(rows, epochs=3, batch_size=5000, validation=rows.limit(999))
    with budget(spark, "8k"):
        found = windowed.fit(rows, epochs=3, batch_size=5000, validation=rows.limit(999))
    np.testing.assert_allclose(windowed.weights, whole.weights, rtol=1e-12)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-12)


def test_the_order_is_another_one_and_always_the_same(spark: SparkSession, rows: DataFrame) -> None:
    weights = []
    for size in ("1g", "8k", "8k", "16k"):
        estimator = FakeEstimator.of(linear(1), 2)
        with budget(spark, size):
            estimator.fit(rows, batch_size=100)
        weights.append(float(estimator.weights[0]))
    assert weights[1] == weights[2]
    assert len(set(weights)) == 3


def test_a_fit_that_is_gone_on_with_equals_an_unbroken_one(
    spark: SparkSession, rows: DataFrame
) -> None:
    # Thirty steps are not a whole pass: the second fit begins in the middle of a window.
    unbroken, broken = FakeEstimator.of(linear(1), 2), FakeEstimator.of(linear(1), 2)
    with budget(spark, "8k"):
        unbroken.fit(rows, epochs=4, batch_size=100, steps_per_epoch=30)
        broken.fit(rows, epochs=1, batch_size=100, steps_per_epoch=30)
        broken.fit(rows, epochs=3, batch_size=100, steps_per_epoch=30)
    np.testing.assert_array_equal(broken.weights, unbroken.weights)


def test_evaluate_is_exact(spark: SparkSession, rows: DataFrame) -> None:
    expected = FakeEstimator.of(linear(1), 2).evaluate(rows)
    with budget(spark, "8k"):
        found = FakeEstimator.of(linear(1), 2).evaluate(rows)
        some = FakeEstimator.of(linear(1), 1).evaluate(rows, batch_size=10, steps=7)
    assert found == pytest.approx(expected, rel=1e-12)
    assert some == pytest.approx(
        FakeEstimator.of(linear(1), 1).evaluate(rows, batch_size=10, steps=7)
    )


def test_a_budget_that_is_no_size(spark: SparkSession, rows: DataFrame) -> None:
    with budget(spark, "plenty"), pytest.raises(InvalidInputError, match="spark.orca.data.memory"):
        FakeEstimator.of(linear(1)).fit(rows)
