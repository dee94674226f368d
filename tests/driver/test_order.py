"""The same training on any number of workers: the same rows in the same steps."""

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear

pytestmark = pytest.mark.timeout(120)

WORKERS = (2, 3)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """In five partitions, so no number of workers takes it as it is."""
    x = F.rand(1) - 0.5
    y = 2 * F.col("x") + 0.3 * F.rand(3)
    return spark.range(0, 210, 1, 5).select("id", x.alias("x")).withColumn("y", y).cache()


def trained(workers: int, rows: DataFrame, **fields) -> tuple[FakeEstimator, list[float]]:
    estimator = FakeEstimator.of(linear(1), workers)
    stats = estimator.fit(rows, batch_size=16, **fields)
    assert stats.order == "canonical"
    return estimator, stats.history["loss"]


@pytest.mark.parametrize("validate", [False, True])
def test_small_batches_are_equal_on_every_number_of_workers(rows, validate):
    fields = {"epochs": 3, "validation": rows.where("id < 50") if validate else None}
    alone, losses = trained(1, rows, **fields)
    assert len(set(losses)) == 3
    for workers in WORKERS:
        one, its_losses = trained(workers, rows, **fields)
        np.testing.assert_allclose(one.weights, alone.weights, rtol=1e-12)
        np.testing.assert_allclose(its_losses, losses, rtol=1e-12)


def test_a_batch_may_have_fewer_rows_than_there_are_workers(rows):
    found = []
    for workers in (1, 3):
        estimator = FakeEstimator.of(linear(1), workers)
        estimator.fit(rows.where("id % 7 = 0"), batch_size=2, validation=rows)
        found.append(estimator.weights)
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_another_number_of_workers_goes_on_in_mid_pass(rows, tmp_path):
    unbroken, _ = trained(1, rows, epochs=4, steps_per_epoch=5)
    begun, _ = trained(2, rows, epochs=1, steps_per_epoch=5)
    begun.save(str(tmp_path / "state"))
    rest = FakeEstimator.of(linear(1), 3)
    rest.load(str(tmp_path / "state"))
    rest.fit(rows, batch_size=16, epochs=3, steps_per_epoch=5)
    np.testing.assert_allclose(rest.weights, unbroken.weights, rtol=1e-12)


@pytest.mark.classic("only there does a plan tell its partitions")
def test_rows_that_stay_where_they_lie_say_so_and_can_be_dealt(rows):
    lying = rows.repartition(2, "id").cache()
    estimator = FakeEstimator.of(linear(1), 2)
    assert estimator.fit(lying, batch_size=16).order == "as placed"
    dealt, alone = FakeEstimator.of(linear(1), 2), FakeEstimator.of(linear(1), 1)
    assert dealt.fit(lying, batch_size=16, shuffle=True).order == "canonical"
    alone.fit(lying, batch_size=16)
    np.testing.assert_allclose(dealt.weights, alone.weights, rtol=1e-12)
