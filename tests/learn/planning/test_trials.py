"""`verify`: the same steps on several numbers of workers."""

from typing import Any

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.learn.test_forms import COMMON, NAMED, TABLE, estimator, optimizer
from zoo.orca.driver import stage
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.errors import InvalidInputError, SlotsError
from zoo.orca.learn.planning.trials import _apart, _rate
from zoo.orca.wire.messages.results import Timings
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    frame = spark.range(100).select((F.col("id") / 100).cast("float").alias("x"))
    return frame.withColumn("y", F.col("x") * 2).repartition(2)


def weights(**given: Any) -> State:
    return State({f"weights/{name}": np.array(value) for name, value in given.items()})


def test_the_largest_difference_is_found() -> None:
    first = weights(a=[1.0, 2.0], b=[100.0])
    assert _apart(first, first) == (0.0, 0.0, "")
    assert _apart(first, weights(a=[1.0, 2.5], b=[101.0])) == (1.0, 0.25, "a")
    nan = weights(a=[np.nan, 2.0], b=[100.0])
    assert _apart(nan, nan) == (0.0, 0.0, "")
    assert _apart(first, nan) == (np.inf, np.inf, "a")


def test_the_slowest_worker_sets_the_rate() -> None:
    told = [Timings(phases={}, steps=10, parts={"feed": 0.5, "compute": s}) for s in (0.5, 1.5)]
    assert _rate(told, 32) == pytest.approx(160)
    assert _rate([Timings(phases={}, steps=0, parts={})], 32) is None


def test_a_model_that_is_the_same_everywhere(rows: DataFrame, tmp_path: Any) -> None:
    est = FakeEstimator.of(linear(), model_dir=str(tmp_path))
    est.fit(rows, batch_size=10, verbose=0)
    before = est._state.to_bytes()
    found = est.verify(rows, batch_size=10, steps=15, workers=(1, 2, 3), epochs=7)
    assert found.same
    assert [one.workers for one in found.trials] == [1, 2, 3]
    assert {one.order for one in found.trials} == {"canonical"}
    # A server's plans do not tell their partitions.
    assert found.stays == (() if is_connect(rows.sparkSession) else (2,))
    assert est._state.to_bytes() == before
    alone = FakeEstimator.of(linear())
    alone._adopt(State.from_bytes(before))
    stats = alone.fit(rows, batch_size=10, steps_per_epoch=15, shuffle=True)
    assert found.trials[0].loss == stats.history["loss"][-1]
    assert not list(tmp_path.iterdir())


def test_too_few_slots_are_told_before_anything_starts(
    rows: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "ship_package", lambda spark: pytest.fail("a stage began"))
    est = FakeEstimator.of(linear())
    with pytest.raises(SlotsError, match="9 workers need 9 slots"):
        est.verify(rows, workers=(1, 9))
    with pytest.raises(InvalidInputError, match="workers lists the numbers.*\nWrite workers="):
        est.verify(rows, workers=2)
    with pytest.raises(InvalidInputError, match="workers must be a whole number"):
        est.verify(rows, workers=(0, 1))
    with pytest.raises(InvalidInputError, match="steps must be a whole number from 2, got 1"):
        est.verify(rows, steps=1)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["keras", "tf2", "torch"])
def test_real_models_are_the_same(spark: SparkSession, framework: str) -> None:
    est = estimator(framework)
    found = est.verify(TABLE, **NAMED, steps=5)
    assert found.same
    assert found.trials[1].loss == pytest.approx(found.trials[0].loss, rel=1e-5)
    assert all(one.rate and one.rate > 0 for one in found.trials)
    assert est._state is None


def with_dropout(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Flatten(0))


@pytest.mark.slow
def test_dropout_shows_and_is_named(spark: SparkSession) -> None:
    from torch import nn

    from zoo.orca.learn.pytorch import Estimator

    est = Estimator.from_torch(model=with_dropout, optimizer=optimizer, loss=nn.MSELoss())
    found = est.verify(TABLE, feature_cols=["x"], label_cols=["y"], steps=5, **COMMON)
    assert not found.same
    assert "dropout" in str(found)
