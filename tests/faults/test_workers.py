"""What goes wrong on one worker ends the job within seconds, with one error, and leaves nothing.

Everything here runs through Spark with the framework in numpy; the faults are the processes', not
the model's.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.faults import pythons
from tests.faults.table import came_out
from zoo.orca.errors import (
    CreatorError,
    MissingPackageError,
    OrcaError,
    WorkerDiedError,
    WorkerError,
    WorkerFrozenError,
)
from zoo.orca.frameworks.fake import LinearModel

#: From the fault to the error on the driver; the start of the stage's tasks included.
LIMIT_SECONDS = 15.0

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """1,000 rows of one feature."""
    return spark.range(1000).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()


@pytest.fixture(autouse=True)
def nothing_stays_behind(spark: SparkSession) -> Iterator[None]:
    """Check that no spooled row is left; processes are checked by each test, and at the end."""
    yield
    deadline = time.monotonic() + 10
    while (left := _spools(spark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _spools(spark: SparkSession) -> set[Path]:
    # This session's own directory: in the machine's there are those of other runs.
    found = os.walk(spark.conf.get("spark.local.dir"))
    return {Path(place, name) for place, names, _ in found for name in names if _is_spool(name)}


def _is_spool(name: str) -> bool:
    return name.startswith("orca-")


def _fit(creator: Callable[[Any], Any], rows: DataFrame, workers: int = 3) -> tuple[Any, float]:
    started = time.monotonic()
    with pytest.raises(OrcaError) as caught:
        FakeEstimator.of(creator, workers).fit(rows, epochs=1000)
    seconds = time.monotonic() - started
    came_out(caught.value, seconds)
    return caught.value, seconds


def on_rank_one(action: Callable[[], None]) -> Callable[[int, int], None]:
    """Return an `on_step` that does `action` on rank 1 in the fifth step."""

    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 5:
            action()

    return on_step


@pytest.mark.fault("a worker's training raises")
def test_an_exception_on_one_rank(rows: DataFrame) -> None:
    def fail() -> None:
        print("about to divide")
        1 / 0  # noqa: B018

    error, seconds = _fit(linear(on_step=on_rank_one(fail)), rows)
    assert type(error) is WorkerError
    assert (error.rank, error.host) == (1, "127.0.0.1")
    assert "ZeroDivisionError" in str(error)
    assert "in fail" in error.remote_traceback
    assert "about to divide" in error.log
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("the model's creator raises")
def test_a_creator_that_raises(rows: DataFrame) -> None:
    def creator(config: dict[str, Any]) -> Any:
        raise LookupError("no such layer")

    error, seconds = _fit(creator, rows)
    assert "LookupError: no such layer" in str(error)
    assert "in creator" in error.remote_traceback
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("a child is killed by SIGKILL")
def test_a_killed_child(rows: DataFrame) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    error, seconds = _fit(linear(on_step=on_rank_one(die)), rows)
    assert type(error) is WorkerDiedError
    assert error.rank == 1
    assert "SIGKILL" in str(error)
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("Spark's Python worker is killed by SIGKILL, in local mode")
@pytest.mark.parametrize("moment", ["rows move", "it trains"])
def test_a_killed_python_of_sparks(rows: DataFrame, moment: str) -> None:
    """Its rank and host are told."""

    def kill() -> None:
        os.kill(pythons.of_own_task(), signal.SIGKILL)
        time.sleep(3600)

    def creator(config: dict[str, Any]) -> Any:
        time.sleep(0.5)  # a rank is told once it has greeted the driver
        kill()

    training = linear(on_step=on_rank_one(kill))
    error, seconds = _fit(creator if moment == "rows move" else training, rows, 2)
    assert type(error) is WorkerDiedError
    assert error.rank in ((0, 1) if moment == "rows move" else (1,))
    assert str(error).startswith(f"rank {error.rank} on 127.0.0.1: a Python process of Spark's")
    assert error.host == "127.0.0.1"
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("a child ends by itself while its peers compute")
def test_a_child_that_crashes_while_another_computes(rows: DataFrame) -> None:
    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 5:
            os._exit(3)
        if rank == 0 and step == 5:
            time.sleep(3600)  # between two exchanges: only the heartbeat's thread can notice

    error, seconds = _fit(linear(on_step=on_step), rows)
    assert type(error) is WorkerDiedError
    assert "exit code 3" in str(error)
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("a child is stopped by SIGSTOP")
def test_a_frozen_child(spark: SparkSession, rows: DataFrame) -> None:
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    spark.conf.set("spark.orca.heartbeat.timeout", "5")
    try:
        error, seconds = _fit(linear(on_step=on_rank_one(stop)), rows)
    finally:
        spark.conf.unset("spark.orca.heartbeat.timeout")
    assert type(error) is WorkerFrozenError
    assert error.rank == 1
    assert "spark.orca.heartbeat.timeout" in str(error)
    assert seconds < 5 + LIMIT_SECONDS


@pytest.mark.fault("the creator closes the child's channel to its task")
@pytest.mark.parametrize("lives", [True, False], ids=["lives on", "goes on"])
def test_a_child_that_closes_its_channel(rows: DataFrame, lives: bool) -> None:
    def creator(config: dict[str, Any]) -> Any:
        os.closerange(3, 256)
        time.sleep(3600 if lives else 0)
        return LinearModel(features=1, rate=0.1)

    error, seconds = _fit(creator, rows, 2)
    assert type(error) is WorkerDiedError
    assert "closed file descriptors that are not its own" in str(error)
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("the training closes all of the child's file descriptors")
def test_a_child_that_closes_all_it_has(rows: DataFrame) -> None:
    def close() -> None:
        os.closerange(0, 256)
        time.sleep(3600)

    error, seconds = _fit(linear(on_step=on_rank_one(close)), rows)
    assert type(error) is WorkerDiedError
    assert error.rank == 1
    assert "closed file descriptors that are not its own" in str(error)
    assert seconds < LIMIT_SECONDS


@pytest.mark.fault("the training calls exit")
def test_user_code_that_exits(rows: DataFrame) -> None:
    error, _ = _fit(linear(on_step=on_rank_one(lambda: exit(7))), rows)
    assert "SystemExit: 7" in str(error)


@pytest.mark.fault("the framework is missing on the workers")
def test_a_framework_that_is_not_installed(rows: DataFrame, tmp_path: Path) -> None:
    # A package that raises what Python raises for a missing one, found before the real one.
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no', name='tensorflow')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    estimator = FakeEstimator.of(linear(), 2, "tf2", {"PYTHONPATH": path})
    started = time.monotonic()
    with pytest.raises(MissingPackageError) as caught:
        estimator.fit(rows)
    seconds = time.monotonic() - started
    came_out(caught.value, seconds)
    assert seconds < LIMIT_SECONDS
    assert re.fullmatch(
        r"(rank \d on \S+: )?the package 'tensorflow' is not installed on the worker \S+, whose "
        r"Python is (\S+)\nInstall it there: \2 -m pip install 'zoo-orca\[tf2\]'; or let "
        r"PYSPARK_PYTHON name a Python that has it",
        str(caught.value),
    )


@pytest.mark.fault("the creator holds a lock, which cannot be sent")
def test_a_creator_that_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def creator(config: dict[str, Any]) -> Any:
        return lock.locked()

    with pytest.raises(CreatorError, match="'lock' of type lock") as caught:
        FakeEstimator.of(creator)
    came_out(caught.value)


def test_a_job_after_a_failure_works(rows: DataFrame) -> None:
    _fit(linear(on_step=on_rank_one(lambda: exit(1))), rows)
    stats = FakeEstimator.of(linear(), 3).fit(rows)
    assert stats["train_loss"] > 0


@pytest.mark.fault("the DataFrame's own expression raises")
@pytest.mark.parametrize("partitions", [2, 5], ids=["as they are", "exchanged"])
def test_the_rows_own_failure_is_told(spark: SparkSession, partitions: int) -> None:
    rows = spark.range(0, 1000, 1, partitions).select(F.rand(1).alias("x"), F.rand(2).alias("y"))
    broken = rows.withColumn("x", F.expr("if(x > 0.5, raise_error('bad row here'), x)"))
    with pytest.raises(OrcaError, match="bad row here") as caught:
        FakeEstimator.of(linear(), 2).fit(broken)
    came_out(caught.value)
