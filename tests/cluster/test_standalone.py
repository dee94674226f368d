"""The quick start on a real cluster: a standalone master and two workers with one core each.

The executors have the framework and not this package, which must come with the job.
"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import standalone
from tests.faults.table import came_out, form

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with standalone.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def run_program(cluster: standalone.Cluster, directory: Path, part: str) -> dict[str, Any]:
    """Run a part of the program in a driver process; return what it answers."""
    (directory / "children").mkdir()
    command = [sys.executable, str(Path(__file__).with_name("program.py"))]
    command += map(str, [ROOT / "src", ROOT / "examples", cluster.url, directory, part])
    environment = standalone.driver_environment() | {
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment, cwd=directory
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}\n{executor_logs(cluster)}"
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def executor_logs(cluster: standalone.Cluster) -> str:
    """What the executors have written, for the message of a failure."""
    logs = sorted(cluster.directory.glob("worker-*/app-*/*/stderr"))
    return "\n".join(f"--- {log}\n{log.read_text()[-4000:]}" for log in logs)


@pytest.fixture(scope="module")
def quickstart(cluster, tmp_path_factory):
    """The answer of the quick start, with the reports of its children."""
    directory = tmp_path_factory.mktemp("quickstart")
    answer = run_program(cluster, directory, "quickstart")
    reports = sorted((directory / "children").iterdir())
    return answer | {"children": [json.loads(report.read_text()) for report in reports]}


def test_trains(quickstart):
    assert quickstart["workers"] == 2
    for name, values in quickstart["history"].items():
        assert len(values) == 2 and all(map(math.isfinite, values)), name
    first, second = quickstart["history"]["loss"]
    assert second < first
    assert quickstart["history"]["val_accuracy"][-1] > 0.35


def test_saves_evaluates_and_predicts(quickstart):
    assert Path(quickstart["saved"]).stat().st_size > 10_000
    assert quickstart["evaluation"]["validation_loss"] > 0
    assert quickstart["evaluation"]["validation_accuracy"] > 0.35
    assert len(quickstart["five"]) == 5


def test_children_ran_on_different_executors(cluster, quickstart):
    children = quickstart["children"]
    assert len({child["pid"] for child in children}) == 2
    assert len({child["parent"] for child in children}) == 2
    places = [Path(child["directory"]) for child in children]
    hosts = {work for work in cluster.work_directories for p in places if p.is_relative_to(work)}
    assert hosts == set(cluster.work_directories)


def test_package_came_with_the_job(cluster, quickstart):
    for child in quickstart["children"]:
        assert ".zip" in child["package"]
        assert not Path(child["package"]).is_relative_to(ROOT)


def test_nothing_is_left_of_the_program(cluster, quickstart):
    def left() -> list[str]:
        return [
            c
            for c in cluster.processes().values()
            if "deploy.master" not in c and "deploy.worker" not in c
        ]

    assert standalone.wait_until(lambda: not left(), 20), left()
    assert not list(cluster.directory.rglob("orca-*"))


@pytest.mark.fault("more workers are asked for than the cluster has slots")
def test_more_workers_than_slots(cluster, tmp_path):
    answer = run_program(cluster, tmp_path, "slots")
    assert answer["error"] is not None
    assert "3 workers need 3 slots" in answer["error"]
    assert answer["seconds"] < 15
    came_out(form("SlotsError", answer["error"]), answer["seconds"])


def test_nothing_is_left_of_the_cluster(tmp_path):
    with standalone.running(tmp_path) as cluster:
        assert len(cluster.processes()) == 3
    assert not cluster.processes()
