"""How many workers a session has on a real cluster: one for each executor, as far as they stay."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import standalone

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[standalone.Cluster]:
    with standalone.running(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def answer_of(name: str, *arguments: object) -> dict[str, Any]:
    """Run a program on the cluster; return what it answers."""
    command = [sys.executable, str(Path(__file__).with_name(name))]
    command += map(str, [ROOT / "src", ROOT, *arguments])
    environment = standalone.driver_environment()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer


def test_one_worker_for_each_executor_whichever_thread_fits(
    cluster: standalone.Cluster, tmp_path: Path
) -> None:
    (tmp_path / "seen").mkdir()
    # In a session that Orca has only adopted.
    answer = answer_of("nodes_program.py", cluster.url, tmp_path / "seen")
    assert answer == {"at once": 2, "property": 2, "thread": 2, "foreachBatch": 2}


def test_where_executors_come_and_go_those_that_stay_train(cluster: standalone.Cluster) -> None:
    answer = answer_of("allocation_program.py", cluster.url)
    assert answer["two"] == pytest.approx(answer["one"], rel=1e-12)
    assert answer["as many as stay"] == 2
    first, way = answer["three"].split("\n")
    assert "as one of 3 workers is, while spark.dynamicAllocation.enabled is true" in first
    assert "spark.dynamicAllocation.enabled=false and spark.executor.instances=3" in way
    assert "or with spark.dynamicAllocation.minExecutors=3" in way and "(now 2)" in way
    # Spark alone starts none, before and after.
    for when in ("before", "after"):
        assert "Barrier execution mode does not support dynamic resource" in answer[when]
