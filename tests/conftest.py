"""Fixtures that every test may use."""

import contextlib
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import pytest_timeout

from tests import jvms, units
from tests.connect.server import running as running_server
from tests.faults import table
from tests.thorough import is_thorough
from zoo.orca import init_orca_context, stop_orca_context

# Every process that this run starts inherits it, which tells them from those of another run.
_RUN = f"ORCA_TEST_RUN={uuid.uuid4().hex}"
os.environ.update([_RUN.split("=")])
# Whoever imports TensorFlow first decides for the process which Keras `tensorflow.keras` is. That
# must not depend on which tests a process runs, and in which order.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
jvms.set_options()

_PASSED = pytest.StashKey[bool]()

# A busy machine must not fail a test; how long one may take in all, pytest's own limit says.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-messages",
        action="store_true",
        help="write tests/messages/recorded.txt anew from what is seen",
    )
    parser.addoption(
        "--faults-table",
        action="store_true",
        help="write the table of faults anew: docs/faults.md and tests/faults/__init__.py",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run those tests of the whole suite, too, that tests/thorough.py leaves out",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> units.Units | None:
    """Let processes take units, where the whole suite runs."""
    return units.Units(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Name the group of each test, which xdist then reads, and put the units in order.

    Of the whole suite, leave out what is thorough.
    """
    if not config.getoption("loadgroup", False):
        return (yield)
    if not config.getoption("--thorough"):
        left = [item for item in items if is_thorough(item)]
        items[:] = [item for item in items if not is_thorough(item)]
        config.hook.pytest_deselected(items=left)
    for item in items:
        if (group := units.group_of(item)) is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    items[:] = units.in_order(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--faults-table"):
        table.write()


@pytest.fixture(autouse=True)
def _outcome_of_the_fault(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that a test which injects a fault tells the table what came of it."""
    markers = request.node.iter_markers("fault")
    table.current[:] = [fault for marker in markers for fault in marker.args]
    yield
    report = request.node.stash.get(_PASSED, False)
    missing = set(table.current) - set(table.seen)
    table.current.clear()
    assert not (report and missing), f"nobody told what came of {missing}: call came_out"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(autouse=True)
def _same_random_numbers_every_time() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Cancel Spark's jobs as a test's time limit ends, fixtures of the session included.

    The limit interrupts the test, but pyspark then waits for the end of its job: a job that hangs
    would hang the whole run. An interrupted call also leaves its answer to the thread's next call,
    which fails the next tests. So the jobs end first.
    """
    limit = _time_limit(item)
    if not limit:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_cancel_jobs, args=(limit, ended), daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join()


def _time_limit(item: pytest.Item) -> float:
    """The seconds that a test may take; 0 where it has no limit."""
    marker = item.get_closest_marker("timeout")
    if marker is None:
        return float(pytest_timeout.get_env_settings(item.config).timeout or 0)
    return float(marker.args[0] if marker.args else marker.kwargs["timeout"])


def _cancel_jobs(limit: float, ended: threading.Event) -> None:
    """Cancel again and again: a call may start one job after another."""
    wait = max(limit - 2, limit / 2)
    while not ended.wait(wait):
        pyspark = sys.modules.get("pyspark")
        context = getattr(getattr(pyspark, "SparkContext", None), "_active_spark_context", None)
        if context is not None:
            print(f"Spark's jobs are cancelled: the limit of {limit:g} s ends", file=sys.stderr)
            context.cancelAllJobs()
        wait = 1


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


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_in_the_checkout(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail the run if tests leave files there, from where somebody would commit them."""
    before = set(_names_in(pytestconfig.rootpath))
    yield
    left = set(_names_in(pytestconfig.rootpath)) - before
    assert not left, f"tests have left files in {pytestconfig.rootpath}: {left}"


def _names_in(directory: Path) -> list[str]:
    """The names of what is no cache of a tool's."""
    return [path.name for path in directory.iterdir() if not path.name.startswith(".")]


@pytest.fixture(scope="session")
def connect_server(
    _no_worker_survives: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a Spark Connect server with four slots, which its clients share."""
    with running_server(tmp_path_factory.mktemp("connect")) as url:
        yield url


@pytest.fixture(scope="module")
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send what Spark's tasks need of this module along: they have no package of tests."""
    from pyspark import cloudpickle

    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


@pytest.fixture(scope="session")
def where_spark_is(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the session's processes: what a relative path of Spark's means."""
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="session")
def spark(_no_worker_survives, where_spark_is, pytestconfig):
    """A local session with four slots: room for three workers, and for telling four is too many.

    Where `tests.connect.client` is a plug-in, a session of Spark Connect.
    """
    if url := pytestconfig.getoption("connect", ""):
        yield init_orca_context("connect", remote=url)
        stop_orca_context()
        return
    directory = where_spark_is
    with contextlib.chdir(directory):
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
