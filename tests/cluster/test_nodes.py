"""The default number of workers on a real cluster, in a session that Orca has only adopted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import standalone

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


def test_one_worker_for_each_executor_whichever_thread_fits(tmp_path):
    (tmp_path / "seen").mkdir()
    with standalone.running(tmp_path) as cluster:
        command = [sys.executable, str(Path(__file__).with_name("nodes_program.py"))]
        command += map(str, [ROOT / "src", ROOT, cluster.url, tmp_path / "seen"])
        environment = standalone.driver_environment()
        ran = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer == {"at once": 2, "property": 2, "thread": 2, "foreachBatch": 2}
