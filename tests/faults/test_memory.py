"""Memory that runs out, in a child or in its task: one error says so, and what to set."""

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.faults.table import came_out, form
from tests.worker.group import train_job
from zoo.orca.errors import OrcaError, WorkerDiedError, WorkerError
from zoo.orca.wire.messages.results import RESULTS, Failure
from zoo.orca.worker.task import barrier_task
from zoo.orca.worker.task.barrier_task import TaskOptions, make_task

pytestmark = pytest.mark.timeout(120)

LIMIT_SECONDS = 15.0
MEGABYTES = 64
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """1,000 rows of one feature."""
    rows = spark.range(1000).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()
    FakeEstimator.of(linear(), 2).fit(rows)  # a session's first job takes long, whatever it is
    return rows


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group that has little memory; skipped where none can be made."""
    is_first = (GROUPS / "memory").is_dir()
    group = (GROUPS / "memory" if is_first else GROUPS) / f"orca-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if is_first else "memory.max"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (group / limit).write_text(str(MEGABYTES << 20))
        except OSError as error:
            pytest.skip(f"a control group's memory has no limit here: {error}")
        yield group
    finally:
        deadline = time.monotonic() + 5
        while group.is_dir() and time.monotonic() < deadline:
            try:
                group.rmdir()
            except OSError:  # the kernel has yet to forget the process
                time.sleep(0.1)


def _fit(on_step: Any, rows: DataFrame) -> Any:
    started = time.monotonic()
    with pytest.raises(OrcaError) as caught:
        FakeEstimator.of(linear(on_step=on_step), 2).fit(rows, epochs=1000)
    seconds = time.monotonic() - started
    came_out(caught.value, seconds)
    assert seconds < LIMIT_SECONDS
    return caught.value


@pytest.mark.fault("an allocation fails in a child")
@pytest.mark.parametrize("kind", ["numpy", "arrow"])
def test_an_allocation_that_fails_in_a_child(rows: DataFrame, kind: str) -> None:
    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 5:
            np.ones(1 << 50) if kind == "numpy" else pa.allocate_buffer(1 << 53)

    error = _fit(on_step, rows)
    assert type(error) is WorkerError
    first, second, *rest = str(error).split("\n")
    assert first.startswith("rank 1 on 127.0.0.1: ") and "MemoryError: " in first
    assert "spark.executor.memoryOverhead" in second and "batch_size" in second
    assert "in on_step" in rest[0]


@pytest.mark.fault("an allocation fails in Spark's Python worker")
def test_an_allocation_that_fails_in_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(
        partitionId=lambda: 0,
        getTaskInfos=lambda: [SimpleNamespace(address="node7:1")],
        allGather=lambda text: [text],
        stageId=lambda: 0,
        taskAttemptId=lambda: 0,
    )
    monkeypatch.setattr(barrier_task, "BarrierTaskContext", SimpleNamespace(get=lambda: context))

    def batches() -> Iterator[pa.RecordBatch]:
        pa.allocate_buffer(1 << 53)
        yield pa.RecordBatch.from_pydict({})

    task = make_task(pickle.dumps(train_job(linear())), TaskOptions(secret=b"s" * 32))
    (row,) = [row for batch in task(batches()) for row in batch.to_pylist()]
    failure = RESULTS.from_text(row["header"])
    assert isinstance(failure, Failure)
    assert (failure.error, failure.rank, failure.host) == ("WorkerError", 0, "node7")
    came_out(form(failure.error, failure.message))
    first, second = failure.message.split("\n")
    assert first.startswith("Spark's Python process ran out of memory: malloc of size")
    assert "spark.executor.memoryOverhead" in second


@pytest.mark.fault("a child's container has no memory left, and the kernel kills it")
def test_a_child_whose_container_has_no_memory_left(rows: DataFrame, small_group: Path) -> None:
    procs = str(small_group / "cgroup.procs")

    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 5:
            with open(procs, "w") as file:
                file.write(str(os.getpid()))
            bytearray(b"x") * (10 * MEGABYTES << 20)

    error = _fit(on_step, rows)
    assert type(error) is WorkerDiedError
    first, second, *_ = str(error).split("\n")
    assert first.startswith("rank 1 on 127.0.0.1: the worker's process was ended by SIGKILL")
    assert "ran out of memory" in first
    assert "spark.executor.memoryOverhead" in second and "batch_size" in second
