"""The child of a session's first stage, which the driver starts: who gets it, what it is like."""

import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from tests.worker.task.test_neighbours import predicts
from tests.worker.task.test_predict_task import predict_job
from zoo.orca.driver import early_child as module
from zoo.orca.driver.early_child import early_child
from zoo.orca.wire.job import Job
from zoo.orca.wire.messages.neighbours import ChildWanted
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.neighbours import taken_at

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.classic("a server's executors are on other machines"),
]


@pytest.fixture(autouse=True)
def first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the session have had no stage."""
    monkeypatch.setattr(module, "_begun", weakref.WeakSet())


@pytest.fixture
def job(tmp_path: Path) -> Job:
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


def test_only_the_first_stage_has_one_and_only_for_one_worker(
    spark: SparkSession, job: Job
) -> None:
    with early_child(spark, job, 2) as door:
        assert door == ""
    with early_child(spark, replace(job, gpus=1), 1) as door:
        assert door == ""
    with early_child(spark, job, 1) as first, early_child(spark, job, 1) as second:
        assert first and not second
