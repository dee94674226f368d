"""The child of a session's first stage, which the driver starts: who gets it, what it is like."""

import os
import signal
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.worker.task.test_neighbours import predicts
from tests.worker.task.test_predict_task import predict_job
from zoo.orca.driver import early_child as module
from zoo.orca.driver.column_function import column_function
from zoo.orca.driver.early_child import EarlyChild, begin, door, early_child
from zoo.orca.driver.predict import Answer, predict_lazily
from zoo.orca.errors import ColumnError
from zoo.orca.learn import requests
from zoo.orca.wire.job import Job, PredictJob
from zoo.orca.wire.messages.neighbours import ChildWanted
from zoo.orca.wire.predicting.column_forms import usual
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.neighbours import taken_at

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.classic("a server's executors are on other machines"),
]


@pytest.fixture(autouse=True)
def first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the session have had no call."""
    monkeypatch.setattr(module, "_begun", weakref.WeakKeyDictionary())


@pytest.fixture(autouse=True)
def none_left(first_call: None) -> Iterator[None]:
    """End what a test has begun."""
    yield
    for found in module._begun.values():
        if found is not None:
            found.close()


@pytest.fixture
def job(tmp_path: Path) -> PredictJob:
    """A job of another environment than all others."""
    return replace(predict_job(), environment={"OF_THIS_TEST": str(tmp_path)})


@pytest.fixture
def taken() -> Iterator[list[Child]]:
    """Stop what a test takes."""
    found: list[Child] = []
    yield found
    for child in found:
        child.stop()


def take(door: str, job: Job) -> Child:
    """Return the child as the stage's task gets it."""
    found = taken_at(door, ChildWanted(environment=job.environment, fewest=1, most=None), 60.0)
    assert found is not None
    return found


def test_the_task_gets_a_child_with_the_surroundings_of_spark_s_workers(
    spark: SparkSession, job: Job, taken: list[Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["PYTHONHASHSEED", "PATH", "SET_BY_THE_DRIVER"]

    def surroundings(batches: object) -> Iterator[object]:
        import pyarrow as pa

        found = [os.environ.get(name) for name in names]
        yield pa.record_batch([pa.array([*found, os.getcwd()], pa.string())], ["value"])

    monkeypatch.setenv("SET_BY_THE_DRIVER", "since the JVM has begun")
    rows = spark.range(0, 1, 1, 1).mapInArrow(surroundings, "value string").collect()
    with early_child(spark, job, 1) as door:
        taken.append(take(door, job))
    process = Path("/proc", str(taken[0].pid))
    pairs = dict(one.split("=", 1) for one in (process / "environ").read_text().split("\0") if one)
    assert [*map(pairs.get, names), os.readlink(process / "cwd")] == [row.value for row in rows]
    assert pairs["OF_THIS_TEST"] == job.environment["OF_THIS_TEST"]
    added_files = SparkFiles.getRootDirectory()
    assert added_files in pairs["PYTHONPATH"].split(os.pathsep)
    assert pairs["SPARK_LOCAL_DIRS"] == os.path.dirname(added_files)
    predicts(taken[0])


def test_a_child_that_no_task_takes_ends_with_the_stage(
    spark: SparkSession, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []
    start = module._started
    monkeypatch.setattr(
        module, "_started", lambda *given: started.append(start(*given)) or started[0]
    )
    with early_child(spark, job, 1) as door:
        assert started[0].alive
    assert not started[0].alive
    assert (
        taken_at(door, ChildWanted(environment=job.environment, fewest=1, most=None), 1.0) is None
    )


def test_a_child_whose_start_is_interrupted_ends(
    spark: SparkSession, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Child] = []

    def interrupted(child: Child, message: object, *, heartbeat: float) -> None:
        started.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(Child, "send", interrupted)
    with pytest.raises(KeyboardInterrupt), early_child(spark, job, 1):
        pass
    assert not started[0].alive


def begun(spark: SparkSession) -> tuple[EarlyChild, Child]:
    """Return what the session's first call has started."""
    found = module._begun[spark.sparkContext]
    assert found is not None
    (child,) = found._warm._idle
    return found, child


def wait_for_the_end(found: EarlyChild) -> None:
    """Wait until nothing is behind its door any longer."""
    found._watch.join(30)
    assert not found._watch.is_alive()
    assert found.name == ""


def test_a_stage_takes_what_its_call_has_begun_and_keeps_it_as_long_as_it_takes(
    spark: SparkSession, job: Job, taken: list[Child]
) -> None:
    begin(spark, job, 1)
    found, child = begun(spark)
    with early_child(spark, job, 1) as name:
        assert name == found.name
        found._until = 0.0
        time.sleep(2 * module._LOOK_SECONDS)
        taken.append(take(name, job))
    assert taken[0].pid == child.pid
    predicts(taken[0])


@pytest.fixture(params=["predict", "predict_udf"])
def predicted(spark: SparkSession, job: PredictJob, request: pytest.FixtureRequest) -> DataFrame:
    """Five rows of a lazy prediction that nothing has run yet."""
    rows = spark.range(0, 5, 1, 1).select(F.col("id").cast("float").alias("x"))
    if request.param == "predict":
        return predict_lazily(rows, job, ["p"], Answer())
    predict = column_function(spark, job, [usual(True)], ["p"], "")
    return rows.withColumn("p", predict("x"))


def test_a_lazy_prediction_has_it_from_its_first_row_on(
    spark: SparkSession, predicted: DataFrame
) -> None:
    found, child = begun(spark)
    assert [row.p for row in predicted.collect()] == [0.0, 3.0, 6.0, 9.0, 12.0]
    wait_for_the_end(found)
    # The task's now, and warm for the next one.
    assert "zoo.orca.worker.child" in Path(f"/proc/{child.pid}/cmdline").read_text()
    assert door(spark) == ""
    assert [row.p for row in predicted.collect()] == [0.0, 3.0, 6.0, 9.0, 12.0]


def test_a_child_that_is_killed_on_its_way_changes_nothing(
    spark: SparkSession, predicted: DataFrame
) -> None:
    _, child = begun(spark)
    os.kill(child.pid, signal.SIGKILL)
    assert [row.p for row in predicted.collect()] == [0.0, 3.0, 6.0, 9.0, 12.0]


def test_a_call_begins_it_before_spark_looks_at_its_rows(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(*given: object, **named: object) -> None:
        raise ColumnError("until here" if door(spark) else "not begun")

    monkeypatch.setattr(requests, "prepare", prepared)
    rows = spark.range(4).select(F.col("id").alias("x"), F.col("id").alias("y"))
    with pytest.raises(ColumnError, match="until here"):
        FakeEstimator.of(linear()).fit(rows)


@pytest.mark.parametrize("why", ["nobody needs it", "the session has ended"])
def test_a_child_of_a_prediction_that_never_runs_ends(
    spark: SparkSession, job: Job, why: str
) -> None:
    begin(spark, job, 1)
    found, child = begun(spark)
    assert door(spark) == found.name != ""
    if why == "nobody needs it":
        found._until = 0.0
    else:
        found._context = lambda: SimpleNamespace(_jsc=None)
    wait_for_the_end(found)
    assert not child.alive
    with early_child(spark, job, 1) as name:
        assert name == ""


def test_only_the_first_stage_has_one_and_only_for_one_worker(
    spark: SparkSession, job: Job
) -> None:
    with early_child(spark, job, 2) as door:
        assert door == ""
    with early_child(spark, replace(job, gpus=1), 1) as door:
        assert door == ""
    with early_child(spark, job, 1) as first, early_child(spark, job, 1) as second:
        assert first and not second
