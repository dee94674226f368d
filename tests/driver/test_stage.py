"""What a stage is called, and what it leaves of the session as it was."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver import stage
from zoo.orca.driver.stage import _ATTEMPTS, _attempted, _described
from zoo.orca.errors import DataError, InvalidInputError, PeerLostError, SlotsError
from zoo.orca.wire.messages.results import Failure

DESCRIPTION = "spark.job.description"


@pytest.mark.classic("a server's jobs have no description")
@pytest.mark.timeout(120)
def test_the_users_job_description_is_put_back(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    spark.sparkContext.setJobDescription("nightly load")
    FakeEstimator.of(linear(1)).fit(frame)
    assert spark.sparkContext.getLocalProperty(DESCRIPTION) == "nightly load"
    spark.sparkContext.setLocalProperty(DESCRIPTION, None)
    FakeEstimator.of(linear(1)).fit(frame)
    assert spark.sparkContext.getLocalProperty(DESCRIPTION) is None


@pytest.mark.classic("a server's jobs have no description")
@pytest.mark.timeout(120)
def test_a_name_tells_stages_apart_in_sparks_pages(spark: SparkSession, monkeypatch) -> None:
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    told: list[str] = []
    real = spark.sparkContext.setLocalProperty

    def noted(key: str, value: str) -> None:
        if key == DESCRIPTION and value is not None:
            told.append(value)
        real(key, value)

    monkeypatch.setattr(spark.sparkContext, "setLocalProperty", noted)
    FakeEstimator.of(linear(1)).fit(frame, name=" trial\n3 ")
    FakeEstimator.of(linear(1)).fit(frame)
    assert told == ["Orca: fit trial 3", "Orca: fit"]
    with pytest.raises(InvalidInputError, match=r"name=3 is not a label"):
        FakeEstimator.of(linear(1)).fit(frame, name=3)


@pytest.mark.timeout(120)
def test_what_an_attempt_left_over_is_not_read_again(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster Spark keeps the workers' rows, and a plan that has run reads them again."""
    monkeypatch.setattr(stage, "is_local", lambda spark: False)
    monkeypatch.setattr(stage, "is_left_over", lambda failures, workers: bool(failures))
    marker = tmp_path / "lost"

    def on_step(rank: int, step: int) -> None:
        if rank == 1 and not marker.exists():
            marker.touch()
            raise PeerLostError("rank 0 closed")

    frame = spark.range(100).selectExpr("id / 100 x", "id / 50 y")
    estimator, whole = FakeEstimator.of(linear(1, on_step=on_step), 2), FakeEstimator.of(linear(1))
    estimator.fit(frame)
    assert marker.exists()
    whole.fit(frame)
    np.testing.assert_allclose(estimator.weights, whole.weights, rtol=1e-12)


def gone(*arguments: str) -> None:
    raise ConnectionRefusedError("nobody listens")


def test_a_session_that_ended_meanwhile_does_not_hide_behind_the_clean_up() -> None:
    for change in ({"_jsc": None}, {"setLocalProperty": gone}):
        context = SimpleNamespace(
            _jsc=object(),
            getLocalProperty=lambda key: None,
            setLocalProperty=lambda key, value: None,
        )
        with pytest.raises(KeyError), _described(SimpleNamespace(sparkContext=context), "fit"):
            vars(context).update(change)
            raise KeyError("the cause")


def left_over() -> Failure:
    return Failure(error="PeerLostError", message="gone", rank=0, host="here")


class Attempts:
    """Attempts of a stage of two workers that end as they are told to, and the watch between."""

    def __init__(self, *ends, slots=True):
        self.ends, self.waits, self.slots = list(ends), 0, slots

    def attempt(self):
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def wait_for_slots(self):
        self.waits += 1
        if not self.slots:
            raise missing(1)

    def run(self, watch=True):
        return _attempted(self.attempt, 2, self if watch else None)


def missing(slots: int | None) -> SlotsError:
    error = SlotsError("too few slots")
    error.slots = slots
    return error


def test_a_stage_that_lost_an_executor_begins_again_once_there_are_slots() -> None:
    # Spark refused it while rows moved; then a worker reported what the restart had overtaken.
    attempts = Attempts(missing(None), ([left_over()], None), ([], "outcome"))
    assert attempts.run() == ([], "outcome")
    assert attempts.waits == 2
    attempts = Attempts(missing(None), slots=False)
    with pytest.raises(SlotsError) as caught:
        attempts.run()
    assert caught.value.slots == 1


def test_a_stage_does_not_begin_again_for_ever() -> None:
    attempts = Attempts(*[missing(None)] * 9)
    with pytest.raises(SlotsError):
        attempts.run()
    assert attempts.waits == _ATTEMPTS - 1
    attempts = Attempts(*[([left_over()], None)] * 9)
    assert attempts.run() == ([left_over()], None)
    assert attempts.waits == _ATTEMPTS - 1


def test_what_no_slots_would_mend_ends_a_stage() -> None:
    for end, watch in ((missing(1), True), (missing(None), False), (DataError("nulls"), True)):
        attempts = Attempts(end)
        with pytest.raises(type(end)):
            attempts.run(watch)
        assert not attempts.waits
    failure = Failure(error="DataError", message="nulls", rank=1, host="here")
    attempts = Attempts(([left_over(), failure], None))
    assert attempts.run() == ([left_over(), failure], None)
    # Without a watch, what is left over is tried again all the same.
    attempts = Attempts(([left_over()], None), ([], "outcome"))
    assert attempts.run(watch=False) == ([], "outcome")
