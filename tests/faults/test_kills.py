"""A part of a training on a cluster is killed at a random moment; nothing is lost or left behind.

The parts are a child, Spark's Python worker, an executor's JVM and the driver. `fit` succeeds or
raises one error within seconds, and every success, at once or by the next ``fit(resume=True)``,
equals the unbroken run bit for bit.

``ZOO_ORCA_KILLS=100`` kills so many parts; one of each kind is enough for every day.
"""

import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster import standalone
from tests.faults.table import EQUAL, came_out, form

ROOT = Path(__file__).parents[2]
#: What is killed, and its name in the table.
FAULTS = {
    "child": "a child is killed by SIGKILL at a random moment, on a cluster",
    "python": "Spark's Python worker is killed by SIGKILL at a random moment, on a cluster",
    "executor": "an executor's JVM is killed by SIGKILL at a random moment",
    "driver": "the driver is killed by SIGKILL at a random moment",
}
KILLS = int(os.environ.get("ZOO_ORCA_KILLS", len(FAULTS)))
#: From the kill to the error on the driver.
LIMIT_SECONDS = 15.0
#: From the kill to a success: a new executor may have to start first, and the training to end.
ENDS_WITHIN = 60.0
#: A program's start, on a machine that others use.
STARTS_WITHIN = 120.0
#: The words in a part's command.
COMMANDS = {
    "child": "zoo.orca.worker.child",
    "python": "pyspark.daemon",
    "executor": "CoarseGrainedExecutorBackend",
}

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240 + 60 * KILLS)]


class Driver:
    """A program that trains whenever it is told to."""

    def __init__(self, cluster: standalone.Cluster, model_dir: Path) -> None:
        program = Path(__file__).with_name("kills_program.py")
        command = [sys.executable, program, ROOT / "src", ROOT, cluster.url, model_dir]
        self.log = cluster.directory / "driver.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=standalone.driver_environment(),
                cwd=cluster.directory,
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put("")

    def fit(self, what: str = "fit", workers: int = 2) -> None:
        """Tell it to train; `what` goes wrong."""
        assert self.process.stdin is not None
        print(workers, what, file=self.process.stdin, flush=True)

    @property
    def has_answered(self) -> bool:
        """Whether what it was told is done."""
        return not self._lines.empty()

    def answer(self, seconds: float) -> dict[str, Any]:
        """What came of it."""
        line = self._lines.get(timeout=seconds)
        assert line, f"the driver has ended:\n{self.log.read_text()[-4000:]}"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        """Let it stop its session and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        if self.process.stdin is not None:
            self.process.stdin.close()


class Scene:
    """A cluster, the driver of the day, and what an unbroken run gives."""

    def __init__(self, cluster: standalone.Cluster, model_dir: Path) -> None:
        self.cluster, self.model_dir = cluster, model_dir
        self.chance = random.Random()  # other moments every time
        self.driver = Driver(cluster, model_dir)
        self.driver.fit()
        self.unbroken = self.driver.answer(STARTS_WITHIN)
        begin = time.monotonic()
        self.driver.fit()
        assert self.driver.answer(ENDS_WITHIN) == self.unbroken
        self.seconds = time.monotonic() - begin

    def victims(self, kind: str) -> list[int]:
        """The processes of a kind; of the Python workers not the one that forks them."""
        found = self.cluster.processes()
        pids = [pid for pid, command in found.items() if COMMANDS[kind] in command]
        if kind == "python":
            pids = [pid for pid in pids if COMMANDS["python"] in found.get(_parent(pid), "")]
        return pids

    def killed(self, kind: str) -> float:
        """Kill a part at a random moment of a fit, and return when; 0 if the fit ended before."""
        time.sleep(self.chance.uniform(0, self.seconds))
        while not self.driver.has_answered:
            if kind == "driver":
                self.driver.kill()
                return time.monotonic()
            pids = self.victims(kind)
            if pids:
                os.kill(self.chance.choice(pids), signal.SIGKILL)
                return time.monotonic()
            time.sleep(0.02)
        return 0.0

    def left(self) -> list[str]:
        """What nobody needs any more: spools, and processes whose parents are gone."""
        found = self.cluster.processes()
        daemons = {daemon.pid for daemon in self.cluster.daemons}
        left = [
            f"{pid}: {command}"
            for pid, command in found.items()
            if pid not in daemons and _parent(pid) not in found
        ]
        kept = []
        # Directories of Spark's come and go meanwhile, which `walk` does not mind.
        for place, names, files in os.walk(self.cluster.directory):
            left += [f"{place}/{name}" for name in names + files if name.startswith("orca-")]
            kept += [f"{place}/{name}" for name in names + files if name.startswith("orcachild-")]
        children = len(self.victims("child"))
        return left + ([f"{children} children and {kept}"] if len(kept) > children else [])

    def files(self) -> list[str]:
        """What is in `model_dir`."""
        return sorted(str(path.relative_to(self.model_dir)) for path in self.model_dir.rglob("*"))


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A cluster with a driver that has trained twice."""
    directory = tmp_path_factory.mktemp("kills")
    (directory / "cluster").mkdir()
    with standalone.running(directory / "cluster") as cluster:
        scene = Scene(cluster, directory / "model")
        try:
            yield scene
        finally:
            scene.driver.kill()


def check_success(scene: Scene, answer: dict[str, Any]) -> None:
    assert answer == scene.unbroken
    assert not scene.files()


def check_error(scene: Scene, answer: dict[str, Any], seconds: float) -> None:
    assert seconds < LIMIT_SECONDS, answer
    files = scene.files()
    assert not [name for name in files if name.endswith(".partial") or "rank-" in name], files
    runs = [name for name in files if "/" not in name]
    assert len(runs) <= 1 and len(files) <= len(runs) + 3, files  # fit.json and two checkpoints
    told = any("fit(resume=True) goes on from it" in note for note in answer["notes"])
    assert told == bool(runs), (answer, files)


def kill_and_check(scene: Scene, kind: str) -> str:
    """Train, kill a part, and check all that must hold; return what came of it."""
    at = 0.0
    while not at:
        scene.driver.fit()
        at = scene.killed(kind)
        if not at:
            check_success(scene, scene.driver.answer(1))
    if kind == "driver":
        scene.driver = Driver(scene.cluster, scene.model_dir)
        outcome, seconds = "the next program's `fit(resume=True)` equals the unbroken run", None
    else:
        answer = scene.driver.answer(ENDS_WITHIN)
        seconds, outcome = time.monotonic() - at, EQUAL
        if "error" in answer:
            check_error(scene, answer, seconds)
            outcome = form(answer["error"], answer["message"])
        else:
            check_success(scene, answer)
    assert standalone.wait_until(lambda: not scene.left(), LIMIT_SECONDS), scene.left()
    came_out(outcome, seconds, fault=FAULTS[kind])
    return f"{outcome} ({seconds or 0:.1f} s)"


@pytest.mark.fault("a worker ends because its peer does, and the peer's Python worker is killed")
def test_a_worker_that_ends_as_its_peer_does_not_end_the_job(scene: Scene) -> None:
    """What it returned is not taken for its result; both run again."""
    scene.driver.fit("lose peers")
    check_success(scene, scene.driver.answer(ENDS_WITHIN))
    assert (scene.model_dir.parent / "lose peers").exists()
    came_out(EQUAL)


@pytest.mark.fault("a child is killed by SIGKILL, with model_dir set")
def test_a_killed_child_leaves_a_checkpoint_from_which_the_next_fit_goes_on(scene: Scene) -> None:
    begin = time.monotonic()
    scene.driver.fit("die")
    answer = scene.driver.answer(ENDS_WITHIN)
    check_error(scene, answer, time.monotonic() - begin - scene.seconds)
    assert answer["error"] == "WorkerDiedError"
    (note,) = answer["notes"]
    assert "00000002-0000000006.state is a checkpoint: fit(resume=True) goes on from it" in note
    shutil.copytree(scene.model_dir, scene.model_dir.parent / "copy")
    scene.driver.fit("die")
    check_success(scene, scene.driver.answer(ENDS_WITHIN))
    # Another number of workers goes on, too.
    shutil.copytree(scene.model_dir.parent / "copy", scene.model_dir, dirs_exist_ok=True)
    scene.driver.fit("die", workers=1)
    alone = scene.driver.answer(ENDS_WITHIN)
    np.testing.assert_allclose(alone["weights"], scene.unbroken["weights"], rtol=1e-12)
    for name, values in scene.unbroken["history"].items():
        np.testing.assert_allclose(alone["history"][name], values, rtol=1e-12)
    assert not scene.files()
    error = form(answer["error"], answer["message"])
    came_out(f"{error}; the next `fit(resume=True)` equals the unbroken run")


@pytest.mark.fault(*FAULTS.values())
def test_whatever_is_killed_nothing_is_lost(scene: Scene) -> None:
    kinds = [*FAULTS, *scene.chance.choices(list(FAULTS), k=KILLS)][:KILLS]
    scene.chance.shuffle(kinds)
    for number, kind in enumerate(kinds):
        outcome = kill_and_check(scene, kind)
        print(f"{number + 1} of {KILLS}, {kind}: {outcome}", flush=True)
    scene.driver.fit()
    check_success(scene, scene.driver.answer(STARTS_WITHIN))
    scene.driver.end()
    daemons = {daemon.pid for daemon in scene.cluster.daemons}
    assert standalone.wait_until(lambda: set(scene.cluster.processes()) <= daemons, LIMIT_SECONDS)
    assert not scene.left()
