"""Fixtures that every test may use."""

import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from zoo.orca import init_orca_context, stop_orca_context

# Every process that this run starts inherits it, which tells them from those of another run.
_RUN = f"ORCA_TEST_RUN={uuid.uuid4().hex}"
os.environ.update([_RUN.split("=")])

# A busy machine must not fail a test; how long one may take in all, pytest's own limit says.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-messages",
        action="store_true",
        help="write tests/messages/recorded.txt anew from what is seen",
    )


@pytest.fixture(autouse=True)
def _same_random_numbers_every_time() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _a_job_that_hangs_ends(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cancel Spark's jobs once a test has passed its time limit.

    The limit interrupts the test, but pyspark then waits for the end of its job: a job that hangs
    would hang the whole run.
    """
    marker = request.node.get_closest_marker("timeout")
    limit = marker.args[0] if marker and marker.args else request.config.getini("timeout")
    timer = threading.Timer(float(limit) + 1, _cancel_jobs)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


def _cancel_jobs() -> None:
    pyspark = sys.modules.get("pyspark")
    context = getattr(getattr(pyspark, "SparkContext", None), "_active_spark_context", None)
    if context is not None:
        context.cancelAllJobs()


@pytest.fixture(scope="session", autouse=True)
def _no_worker_survives() -> Iterator[None]:
    """Fail the run if a worker process outlives the sessions of the tests."""
    yield
    deadline = time.monotonic() + 30
    while (alive := _workers_alive()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive, f"worker processes are left running: {alive}"


def _workers_alive() -> dict[str, str]:
    """The worker processes of this run, by process id; none where there is no /proc."""
    alive = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            is_ours = _RUN.encode() in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        if is_ours and "zoo.orca.worker" in command:
            alive[process.name] = command
    return alive


@pytest.fixture(scope="session")
def spark(_no_worker_survives, tmp_path_factory):
    """A local session with four slots: room for three workers, and for telling four is too many."""
    directory = tmp_path_factory.mktemp("spark")
    context = init_orca_context(
        "local",
        cores=4,
        memory="2g",
        conf={
            # Three tasks of `predict` show what four would, and import fewer frameworks.
            "spark.default.parallelism": 3,
            "spark.local.dir": str(directory / "local"),
            "spark.sql.shuffle.partitions": 4,
            "spark.ui.enabled": "false",
            "spark.sql.warehouse.dir": str(directory / "warehouse"),
        },
    )
    assert context is not None
    from pyspark.sql import SparkSession

    yield SparkSession.builder.getOrCreate()
    stop_orca_context()
