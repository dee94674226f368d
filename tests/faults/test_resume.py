"""A driver that is killed loses nothing: the next program goes on within the epoch.

``ZOO_ORCA_KILLS=20`` kills it at so many random moments; a few are enough for every day.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("ZOO_ORCA_KILLS", "2"))
#: A program from its start to its end, on a machine that others use.
SECONDS = 150

pytestmark = pytest.mark.timeout(SECONDS * (KILLS + 2))


def program(model_dir: Path, result: Path, workers: int) -> Any:
    command = [sys.executable, "-m", "tests.faults.resume_program"]
    return subprocess.Popen(
        [*command, str(model_dir), str(result), str(workers)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(model_dir: Path, result: Path, workers: int) -> dict[str, Any]:
    """What a program that nobody kills writes."""
    running = program(model_dir, result, workers)
    said, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, said
    found: dict[str, Any] = json.loads(result.read_text())
    return found


def checkpoints(model_dir: Path) -> list[str]:
    return sorted(path.name for path in model_dir.glob("fit-*/*.state"))


def killed(model_dir: Path, result: Path, workers: int, moment: float) -> bool:
    """Kill a program some time after its first new checkpoint; whether it had not ended before."""
    before, running = checkpoints(model_dir), program(model_dir, result, workers)
    deadline = time.monotonic() + SECONDS
    while running.poll() is None and checkpoints(model_dir) == before:
        assert time.monotonic() < deadline, "no checkpoint comes"
        time.sleep(0.02)
    time.sleep(moment)
    was_running = running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=30)
    return was_running


def test_whoever_goes_on_after_a_kill_ends_as_the_unbroken_run(tmp_path: Path) -> None:
    unbroken = finished(tmp_path / "whole", tmp_path / "whole.json", 2)
    assert len(unbroken["history"]["loss"]) == 8 and not any((tmp_path / "whole").iterdir())
    chance, model_dir = random.Random(), tmp_path / "killed"  # other moments every time
    kills = 0
    while kills < KILLS:
        result = tmp_path / f"{kills}.json"
        kills += killed(model_dir, result, 2, chance.uniform(0, 0.5))
        assert len(list(model_dir.iterdir())) <= 1
        assert len(checkpoints(model_dir)) <= 3  # a third one while it is being written
        if result.exists():  # it had ended; the next one begins anew
            assert json.loads(result.read_text()) == unbroken
    shutil.copytree(model_dir, tmp_path / "copy")
    assert finished(model_dir, tmp_path / "last.json", 2) == unbroken
    assert not any(model_dir.iterdir())
    # Another number of workers goes on, too.
    alone = finished(tmp_path / "copy", tmp_path / "alone.json", 1)
    np.testing.assert_allclose(alone["weights"], unbroken["weights"], rtol=1e-12)
    for name, values in unbroken["history"].items():
        np.testing.assert_allclose(alone["history"][name], values, rtol=1e-12)
