"""Fits with another number of workers than was asked for, on a local session."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.elastic import watch
from zoo.orca.driver.session import readiness
from zoo.orca.errors import InvalidInputError, SlotsError

pytestmark = pytest.mark.timeout(120)


def rows(spark: SparkSession) -> DataFrame:
    return spark.range(0, 300, 1, 2).selectExpr(
        "cast(id as double) / 300 x", "cast(id as double) / 70 y"
    )


def slowly(directory: Path):
    """Return what is called before each step: it notes the rank, and takes its time."""

    def on_step(rank: int, step: int) -> None:
        import time

        (directory / f"{step:03d}-{rank}").touch()
        time.sleep(0.2)

    return on_step


def ranks(directory: Path, step: int) -> set[str]:
    return {path.name.partition("-")[2] for path in directory.glob(f"{step:03d}-*")}


def test_a_fit_begins_with_the_slots_that_there_are(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = {"min_workers": 2, "model_dir": str(tmp_path)}
    call = {"epochs": 2, "batch_size": 70, "model_dir": str(tmp_path)}
    est = FakeEstimator.of(linear(1), 6, **engine)
    stats = est.fit(rows(spark), **call, run="six", verbose=1, name="trial")
    said = capsys.readouterr().out
    assert "trial: slots for 2 of 6 workers are missing: going on with 4 from epoch 1\n" in said
    unbroken = FakeEstimator.of(linear(1), 3)
    expected = unbroken.fit(rows(spark), epochs=2, batch_size=70, shuffle=True)
    np.testing.assert_allclose(est.weights, unbroken.weights, rtol=1e-12)
    np.testing.assert_allclose(stats.history["loss"], expected.history["loss"], rtol=1e-12)
    assert stats.order == expected.order == "canonical"
    # Nobody moves rows for the sake of an evaluation, but it goes on as well.
    np.testing.assert_allclose(
        est.evaluate(rows(spark), batch_size=70)["validation_loss"],
        unbroken.evaluate(rows(spark), batch_size=70)["validation_loss"],
        rtol=1e-12,
    )
    with pytest.raises(SlotsError, match=r"min_workers=5: 5 workers need 5 slots .* has 4\n"):
        FakeEstimator.of(linear(1), 6, min_workers=5, model_dir=str(tmp_path)).fit(
            rows(spark), **call, run="none"
        )


@pytest.mark.classic("a server does not tell its slots")
def test_a_fit_takes_more_workers_at_the_next_epoch(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = readiness.check_slots

    def as_if_lost(spark: SparkSession, workers: int, profile: object = None) -> None:
        monkeypatch.setattr(readiness, "check_slots", real)
        error = SlotsError("executors were lost")
        error.slots = 1
        raise error

    monkeypatch.setattr(readiness, "check_slots", as_if_lost)
    monkeypatch.setattr(watch, "is_local", lambda spark: False)
    (tmp_path / "steps").mkdir()
    est = FakeEstimator.of(
        linear(1, on_step=slowly(tmp_path / "steps")), 3, min_workers=1, model_dir=str(tmp_path)
    )
    call = {"epochs": 5, "batch_size": 70, "steps_per_epoch": 7}
    stats = est.fit(rows(spark), **call, model_dir=str(tmp_path), run="more", verbose=1)
    said = capsys.readouterr().out
    assert "fit: slots for 2 of 3 workers are missing: going on with 1 from epoch 1\n" in said
    assert said.count("fit: slots for 3 workers are back: going on with 3 from epoch ") == 1
    assert ranks(tmp_path / "steps", 0) == {"0"}
    assert ranks(tmp_path / "steps", 34) == {"0", "1", "2"}
    unbroken = FakeEstimator.of(linear(1), 2)
    expected = unbroken.fit(rows(spark), **call, shuffle=True)
    np.testing.assert_allclose(est.weights, unbroken.weights, rtol=1e-12)
    np.testing.assert_allclose(stats.history["loss"], expected.history["loss"], rtol=1e-12)
    assert not (tmp_path / "more").exists()


def test_numbers_of_workers_that_cannot_be(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"min_workers=1 needs model_dir: .*\n.*model_dir"):
        FakeEstimator.of(linear(1), 2, min_workers=1)
    engine = {"model_dir": str(tmp_path)}
    with pytest.raises(InvalidInputError, match=r"min_workers=3 is more than the 2 .*\n.*=2 or"):
        FakeEstimator.of(linear(1), 2, min_workers=3, **engine)
    for wrong in (0, 1.5, True):
        with pytest.raises(InvalidInputError, match="min_workers must be a whole number from 1"):
            FakeEstimator.of(linear(1), 2, min_workers=wrong, **engine)
    # How many there are by default, only the session tells.
    est = FakeEstimator.of(linear(1), None, min_workers=2, **engine)
    with pytest.raises(InvalidInputError, match=r"min_workers=2 is more than the 1 workers"):
        est.fit(rows(spark))
