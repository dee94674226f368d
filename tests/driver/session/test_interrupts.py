"""Ctrl-C ends a call at once, with KeyboardInterrupt and nothing left; the session goes on."""

import _thread
import os
import signal
import subprocess
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
from tests.jobs import running_jobs
from zoo.orca.errors import OrcaError

pytestmark = pytest.mark.timeout(120)

#: From the interrupt to the exception. The jobs here would take a minute or more.
LIMIT_SECONDS = 10.0
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """1,000 rows of one feature."""
    return spark.range(1000).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()


@pytest.fixture
def handler(request: pytest.FixtureRequest) -> Iterator[None]:
    """On a terminal pyspark handles Ctrl-C; a notebook's kernel takes Python's handler again."""
    before = signal.getsignal(signal.SIGINT)
    if request.param == "notebook":
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def raise_here() -> None:
    signal.raise_signal(signal.SIGINT)


def interrupted(call: Callable[[], Any], sign: Path, interrupt: Callable[[], None]) -> list[int]:
    """Interrupt `call` when its workers have made their files; return their processes."""
    sent = []

    def watch() -> None:
        while not list(sign.iterdir()):
            time.sleep(0.05)
        sent.append(time.monotonic())
        interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        retried(call)
    assert time.monotonic() - sent[0] < LIMIT_SECONDS
    watcher.join()
    return [int(path.name) for path in sign.iterdir()]


def retried(call: Callable[[], Any]) -> None:
    """What a user writes who cannot be interrupted if an interrupt is an OrcaError."""
    for _ in range(3):
        try:
            return call()
        except OrcaError:
            continue


def ends(pids: list[int]) -> bool:
    """Whether the processes end within some seconds."""
    deadline = time.monotonic() + 15
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return not alive


def slow(sign: Path) -> Callable[[Any], Any]:
    """Return a creator of a model that notes its process, and whose steps take a while."""

    def on_step(rank: int, step: int) -> None:
        (sign / str(os.getpid())).touch()
        time.sleep(0.1)

    return linear(on_step=on_step)


def spools(spark: SparkSession) -> list[Path]:
    """The directories of rows that workers of the session hold."""
    return list(Path(spark.conf.get("spark.local.dir")).rglob("orca-*"))


@pytest.mark.parametrize(
    ("handler", "interrupt"),
    [
        ("terminal", ctrl_c),
        ("notebook", ctrl_c),
        ("notebook", raise_here),
        ("notebook", _thread.interrupt_main),
    ],
    indirect=["handler"],
)
def test_fit_is_interrupted(
    spark: SparkSession,
    rows: DataFrame,
    tmp_path: Path,
    handler: None,
    interrupt: Callable[[], None],
) -> None:
    estimator = FakeEstimator.of(slow(tmp_path), 2)
    pids = interrupted(lambda: estimator.fit(rows, epochs=100), tmp_path, interrupt)
    assert pids and ends(pids)
    assert running_jobs(spark) == []
    deadline = time.monotonic() + 10
    while spools(spark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not spools(spark)
    assert FakeEstimator.of(linear(), 2).fit(rows)["train_loss"] > 0


@pytest.mark.parametrize("handler", ["notebook"], indirect=True)
def test_the_jobs_of_other_threads_go_on(rows: DataFrame, tmp_path: Path, handler: None) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    mine.mkdir()
    others.mkdir()
    found = []
    other = FakeEstimator.of(slow(others), 1)
    thread = threading.Thread(target=lambda: found.append(other.fit(rows, batch_size=20)))
    thread.start()
    estimator = FakeEstimator.of(slow(mine), 2)
    interrupted(lambda: estimator.fit(rows, epochs=100), mine, ctrl_c)
    thread.join(60)
    assert found and found[0]["train_loss"] > 0


@pytest.mark.parametrize("handler", ["notebook"], indirect=True)
def test_building_and_evaluating_are_interrupted(
    rows: DataFrame, tmp_path: Path, handler: None
) -> None:
    def creator(config: dict[str, Any]) -> Any:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    for call in (
        lambda: FakeEstimator.of(creator, 2).evaluate(rows, batch_size=10),
        lambda: FakeEstimator.of(creator).predict(rows),
    ):
        assert ends(interrupted(call, tmp_path, ctrl_c))
        for path in tmp_path.iterdir():
            path.unlink()


PROGRAM = """
import os, sys, time
from pathlib import Path
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca import OrcaContext, init_orca_context

sign = Path(sys.argv[1])

def on_step(rank, step):
    (sign / str(os.getpid())).touch()
    time.sleep(0.1)

init_orca_context(cores=2, conf={"spark.ui.enabled": "false", "spark.local.dir": sys.argv[2]})
rows = OrcaContext.get_spark_session().range(1000).selectExpr("rand(1) x", "rand(2) y")
FakeEstimator.of(linear(on_step=on_step), 2).fit(rows, epochs=100)
"""


@pytest.mark.slow
def test_a_program_ends_at_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    sign, local = tmp_path / "sign", tmp_path / "local"
    sign.mkdir()
    with (tmp_path / "log").open("w") as log:
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(sign), str(local)],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
            # A terminal sends the signal to all of a group.
            start_new_session=True,
        )
    try:
        while not list(sign.iterdir()):
            assert program.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait(30) == -signal.SIGINT
    finally:
        program.kill()
    assert "KeyboardInterrupt" in (tmp_path / "log").read_text()
    assert ends([int(path.name) for path in sign.iterdir()])
    assert list(local.rglob("orca-*")) == []
