"""A watch ends the jobs of its thread, and says why; over a local session, as if it could lose."""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from zoo.orca.driver.elastic import watch
from zoo.orca.driver.elastic.decisions import Terms
from zoo.orca.driver.elastic.watch import SlotsAreBack, Watched, watched
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.errors import SlotsError
from zoo.orca.wire.messages.progress import Phase

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch a local session, too: it has four slots."""
    monkeypatch.setattr(watch, "is_local", lambda spark: False)


def long_job(spark: SparkSession, directory: Path):
    """Return a job of one task that would run for minutes, and notes that it began."""

    def slow(batches):
        for batch in batches:
            (directory / "began").touch()
            time.sleep(300)
            yield batch

    frame = spark.range(0, 1, 1, 1).mapInArrow(slow, "id long")
    # As of a stage: adaptive execution starts the jobs of an exchange in other threads.
    return frame.repartition(1)


def ends(frame, found: watch.Watch | None) -> None:
    """Run a job that the watch must end; raise what the watch says.

    The frame is made before the watch begins, which would otherwise look before the workers began.
    """
    assert found is not None
    found.workers_began()
    with contextlib.suppress(*spark_errors()):
        frame.toArrow()
        raise AssertionError("nobody has ended the job")
    found.check()


def test_slots_that_are_missing_end_the_job_within_the_patience(
    spark: SparkSession, tmp_path: Path
) -> None:
    began, frame = time.monotonic(), long_job(spark, tmp_path)
    stage = Watched(terms=Terms(workers=5, wanted=5, patience=1.0))
    with pytest.raises(SlotsError) as caught, watched(spark, stage) as found:
        ends(frame, found)
    assert time.monotonic() - began < 30
    assert caught.value.slots == 4
    assert str(caught.value).splitlines() == [
        "5 workers need 5 slots at the same time, and local[4] has had 4 for 1 s: "
        "executors were lost",
        "Bring them back and call again, ask for fewer workers (num_workers=4), or wait longer "
        "(spark.orca.elastic.patience). With model_dir= and min_workers= a fit goes on with the "
        "slots that are left",
    ]
    tracker = spark.sparkContext.statusTracker()
    assert not tracker.getActiveJobsIds()
    # The tasks are over, too, when the block ends.
    assert sum(one.numRunningTasks for one in tracker.getExecutorInfos()) == 0


def test_a_checkpoint_ends_the_job_if_there_are_slots_for_more(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame = long_job(spark, tmp_path)
    stage = Watched(terms=Terms(workers=1, wanted=3, patience=60), checkpoints=str(tmp_path))

    def save() -> None:
        deadline = time.monotonic() + 60
        while not (tmp_path / "began").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3 * watch._TURN)
        assert spark.sparkContext.statusTracker().getActiveJobsIds()  # the slots alone end nothing
        (tmp_path / "00000001-0000000000.state").touch()

    thread = threading.Thread(target=save)
    thread.start()
    with pytest.raises(SlotsAreBack) as caught, watched(spark, stage) as found:
        ends(frame, found)
    thread.join()
    assert caught.value.workers == 3


def test_other_jobs_go_on_and_tags_are_taken_away(spark: SparkSession, tmp_path: Path) -> None:
    context = spark.sparkContext
    context.addJobTag("mine")
    done = []

    def other() -> None:
        def slow(batches):
            for batch in batches:
                time.sleep(6)
                yield batch

        done.append(spark.range(0, 1, 1, 1).mapInArrow(slow, "id long").toArrow().num_rows)

    thread = threading.Thread(target=other)
    thread.start()
    frame = long_job(spark, tmp_path)
    stage = Watched(terms=Terms(workers=5, wanted=5, patience=0.5))
    try:
        with pytest.raises(SlotsError), watched(spark, stage) as found:
            ends(frame, found)
        assert set(context.getJobTags()) == {"mine"}
    finally:
        context.removeJobTag("mine")
    thread.join()
    assert done == [1]


def test_before_the_workers_begin_missing_slots_end_the_attempt_at_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [1]
    monkeypatch.setattr(watch, "slots", lambda spark, profile: there[0])
    stage = Watched(terms=Terms(workers=2, wanted=2, patience=60))
    with watched(spark, stage) as found:
        assert found is not None
        with pytest.raises(spark_errors()):
            long_job(spark, tmp_path).toArrow()
        with pytest.raises(SlotsError) as caught:
            found.check()
        assert caught.value.slots is None
        threading.Timer(1.0, lambda: there.__setitem__(0, 2)).start()
        found.wait_for_slots()
        # The next attempt is another one.
        assert spark.range(0, 8, 1, 2).repartition(1).toArrow().num_rows == 8
        found.check()


def test_the_first_report_of_a_worker_tells_that_they_run() -> None:
    told: list[str] = []

    class Noted:
        def workers_began(self) -> None:
            told.append("began")

    class Shown:
        def show(self, progress: object, rank: int = 0) -> None:
            told.append(f"shown {rank}")

        def close(self) -> None:
            told.append("closed")

    display = watch.Noting(Shown(), Noted())  # type: ignore[arg-type]
    display.show(Phase(text="starting workers"))
    display.show(Phase(text="moving rows"), 1)
    display.close()
    assert told == ["shown 0", "began", "shown 1", "closed"]


def test_slots_are_waited_for_before_another_attempt(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = [1, 1, 2]
    monkeypatch.setattr(watch, "_TURN", 0.05)
    monkeypatch.setattr(watch, "slots", lambda spark, profile: there.pop(0) if there else 1)
    one = watch.Watch(spark, Watched(terms=Terms(workers=2, wanted=2, patience=0.5)), "tag")
    one.wait_for_slots()
    assert not there
    with pytest.raises(SlotsError, match=r"has had 1 for 0.5 s"):
        one.wait_for_slots()


def test_nothing_is_watched_where_nothing_is_seen(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Watched(terms=Terms(workers=5, wanted=5, patience=0.1))
    monkeypatch.setattr(watch, "is_local", lambda spark: True)
    with watched(spark, stage) as found:
        assert found is None
    monkeypatch.setattr(watch, "is_local", lambda spark: False)
    monkeypatch.setattr(watch, "has_own_properties", lambda context: False)
    with watched(spark, stage) as found:
        assert found is None
