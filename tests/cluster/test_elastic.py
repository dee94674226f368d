"""Executors are lost for good and come back: a fit goes on with the workers that fit."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster import standalone

ROOT = Path(__file__).parents[2]
#: As in the program: seconds that it waits for slots.
PATIENCE = 2.0

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(280)]


class Driver:
    """The program that fits, running."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self._process, self._directory = process, directory

    @property
    def said(self) -> str:
        """What it has printed."""
        return (self._directory / "out").read_text()

    def logged(self, text: str) -> int:
        """How often a text is in its log."""
        return (self._directory / "err").read_text().count(text)

    def wait(self, ready: Any, what: str) -> None:
        """Wait until something is so; fail with what the program said if it never is."""
        until = standalone.wait_until(lambda: ready() or self._process.poll() is not None, 90)
        errors = (self._directory / "err").read_text()[-4000:]
        assert until and ready(), f"never {what}:\n{self.said}\n{errors}"

    def says(self, text: str) -> None:
        """Wait until it says something."""
        self.wait(lambda: text in self.said, text)

    def reaches(self, run: str, step: int) -> None:
        """Wait until a run takes a step."""
        steps = self._directory / "steps"
        self.wait(lambda: any(steps.glob(f"{run}-{step:03d}-*")), f"{run} at step {step}")

    def open(self, run: str, step: int) -> None:
        """Let a run go on that waits at a step."""
        (self._directory / f"{run}-{step}.go").touch()

    def answer(self, run: str) -> dict[str, Any]:
        """Wait for the end of a run; return its answer."""
        begins = json.dumps({"run": run})[:-1]
        self.says(begins)
        lines = [line for line in self.said.splitlines() if line.startswith(begins)]
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def ranks(self, run: str) -> list[set[int]]:
        """The ranks that took each of a run's steps, in any attempt."""
        found: dict[int, set[int]] = {}
        for path in (self._directory / "steps").glob(f"{run}-*"):
            _, step, rank = path.name.split("-")
            found.setdefault(int(step), set()).add(int(rank))
        return [found[step] for step in sorted(found)]


@contextmanager
def driving(cluster: standalone.Cluster, directory: Path) -> Iterator[Driver]:
    """Run the program on a cluster."""
    (directory / "steps").mkdir(parents=True)
    program = Path(__file__).with_name("elastic_program.py")
    command = [sys.executable, program, ROOT / "src", ROOT, cluster.url, directory]
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=out,
            stderr=err,
            env=standalone.driver_environment(),
            cwd=directory,
        )
        try:
            yield Driver(process, directory)
            assert process.wait(60) == 0, (directory / "err").read_text()[-4000:]
        finally:
            process.kill()
            process.wait()


def test_fits_go_on_with_the_workers_that_are_left(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    model = tmp_path / "model"
    with standalone.running(tmp_path / "cluster") as cluster, driving(cluster, model) as driver:
        unbroken = driver.answer("unbroken")
        back = _lost_and_back(cluster, driver)
        moving = _lost_while_rows_move(cluster, driver)
        for answer in (back, moving):
            assert answer["order"] == unbroken["order"] == "canonical"
            for name in ("weights", "loss"):
                np.testing.assert_allclose(answer[name], unbroken[name], rtol=1e-9, err_msg=name)
        assert len(unbroken["loss"]) == 6 and unbroken["loss"][-1] < unbroken["loss"][0] / 2
        assert not list(model.glob("back/*"))
        _bring_back(cluster)
        _refused(cluster, driver, model / "refused")
        _all_lost(cluster, driver)


def _lost_and_back(cluster: standalone.Cluster, driver: Driver) -> dict[str, Any]:
    driver.reaches("back", 15)
    cluster.lose_worker(1)
    driver.says("back: slots for 1 of 2 workers are missing: going on with 1 from epoch 2")
    driver.open("back", 15)
    driver.reaches("back", 35)
    _bring_back(cluster)
    # An epoch that ends before the driver has looked ends nothing.
    driver.says("there are slots for more workers")
    driver.open("back", 35)
    # Epoch 4 ends the stage. Without the gate behind it the training might end unseen.
    driver.says("back: slots for 2 workers are back: going on with 2 from epoch")
    driver.open("back", 45)
    answer = driver.answer("back")
    ranks = driver.ranks("back")
    assert ranks[0] == ranks[-1] == {0, 1}
    assert all(one == {0} for one in ranks[20:35])
    assert driver.said.count("are missing") == driver.said.count("are back") == 1
    return answer


def _lost_while_rows_move(cluster: standalone.Cluster, driver: Driver) -> dict[str, Any]:
    driver.reaches("moving", 0)
    lost, cancelled = driver.logged("Lost executor"), driver.logged("SPARK_JOB_CANCELLED")
    cluster.lose_worker(0)
    driver.wait(lambda: driver.logged("Lost executor") > lost, "a lost executor")
    # Spark would stop the session if the job still ran once the rows are there.
    standalone.wait_until(lambda: driver.logged("SPARK_JOB_CANCELLED") > cancelled, 1.5)
    driver.open("moving", 0)
    driver.says("moving: slots for 1 of 2 workers are missing: going on with 1 from epoch 1")
    return driver.answer("moving")


def _refused(cluster: standalone.Cluster, driver: Driver, kept: Path) -> None:
    driver.reaches("refused", 15)
    cluster.lose_worker(2)
    first, second = _error(driver, "refused")
    assert first == (
        f"min_workers=2: 2 workers need 2 slots at the same time, and {cluster.url} has 1"
    )
    assert "lower min_workers to 1" in second and "spark.orca.elastic.patience" in second
    assert second.endswith(f"after epoch 1, which is in {kept}")


def _all_lost(cluster: standalone.Cluster, driver: Driver) -> None:
    driver.reaches("alone", 5)
    cluster.lose_worker(3)
    first, second = _error(driver, "alone")
    assert first == (
        f"1 workers need 1 slots at the same time, and {cluster.url} has had 0 for 2 s: "
        "executors were lost"
    )
    assert "min_workers=" in second and "num_workers" not in second


def _error(driver: Driver, run: str) -> list[str]:
    """Return the lines of a run's error, which must come soon after a worker was lost."""
    lost = time.time()
    answer = driver.answer(run)
    # Until Spark knows; then the patience; then until the tasks of the stage are over.
    assert answer["at"] - lost < PATIENCE + 20
    lines: list[str] = answer["error"].splitlines()
    return lines


def _bring_back(cluster: standalone.Cluster) -> None:
    """Start another worker; return once its executor has registered."""
    work = cluster.directory / f"worker-{cluster.add_worker()}"

    def registered() -> bool:
        logs = work.glob("app-*/*/stderr")
        return any("Successfully registered with driver" in log.read_text() for log in logs)

    assert standalone.wait_until(registered, 60)
