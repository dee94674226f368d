"""An executor is lost in mid-training: Spark starts the stage again, and nobody can tell."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import standalone
from tests.faults.table import EQUAL, came_out

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(200)]


#: The job runs with these, because they would end it if Spark took barrier stages for others: it
#: starts those again whatever the first one says, and never makes a second copy of their tasks.
STRICT = {
    "spark.task.maxFailures": 1,
    "spark.speculation": True,
    "spark.speculation.interval": "10ms",
    "spark.speculation.minTaskRuntime": "10ms",
    "spark.speculation.task.duration.threshold": "1s",
}


@pytest.mark.fault("an executor is lost, with spark.task.maxFailures=1 and speculation")
def test_a_lost_executor_costs_time_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "model").mkdir()
    with standalone.running(tmp_path / "cluster") as cluster:
        program = Path(__file__).with_name("lost_program.py")
        command = [sys.executable, program, ROOT / "src", ROOT, cluster.url, tmp_path / "model"]
        command.append(json.dumps(STRICT))
        with subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=standalone.driver_environment(),
            cwd=tmp_path,
        ) as driver:
            kept = tmp_path / "model" / "lost"
            assert standalone.wait_until(lambda: max(_states(kept), default="") >= "00000003", 90)
            executors = [
                pid
                for pid, command in cluster.processes().items()
                if "CoarseGrainedExecutorBackend" in command
            ]
            assert len(executors) == 2
            os.kill(executors[0], signal.SIGKILL)
            out, err = driver.communicate(timeout=120)
        assert driver.returncode == 0, err
    lost, unbroken = json.loads(out.splitlines()[-1])
    assert len(lost["history"]["loss"]) == 8
    assert lost == unbroken
    assert not kept.exists()
    came_out(EQUAL)


def _states(kept: Path) -> list[str]:
    return [path.name for path in kept.glob("*.state")]
