"""Spark schedules GPUs on a real cluster: those of a discovery script that makes them up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import standalone

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """What the program saw on two executors with the GPUs 4 and 7 each."""
    directory = tmp_path_factory.mktemp("gpus")
    script = directory / "discover"
    found = json.dumps({"name": "gpu", "addresses": ["4", "7"]})
    script.write_text(f"#!/bin/sh\necho '{found}'\n")
    script.chmod(0o755)
    options = f"-Dspark.worker.resource.gpu.discoveryScript={script}"
    (directory / "seen").mkdir()
    with standalone.running(directory, f"-Dspark.worker.resource.gpu.amount=2 {options}") as it:
        command = [sys.executable, str(Path(__file__).with_name("gpu_program.py"))]
        command += map(str, [ROOT / "src", ROOT, it.url, directory / "seen"])
        environment = standalone.driver_environment()
        ran = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return json.loads(ran.stdout.splitlines()[-1])


def test_every_worker_sees_the_gpu_that_spark_gave_it(answer):
    assert len(answer["fit"]) == 2
    for devices in answer["fit"].values():
        assert set(devices) <= {"4"} or set(devices) <= {"7"}
    assert answer["loss"][0] < 1


def test_predict_asks_for_gpus_and_keeps_the_children_that_have_them(answer):
    assert answer["rows"] == 100
    for child, devices in answer["predict"].items():
        assert devices[0] in ("4", "7")
        assert child not in answer["fit"] or devices[0] == answer["fit"][child][0]


def test_several_gpus_a_worker_take_new_children(answer):
    assert [set(devices) for devices in answer["two each"].values()] == [{"4,7"}, {"4,7"}]
    assert not answer["two each"].keys() & answer["fit"].keys()


def test_without_gpus_the_environment_stays(answer):
    assert [set(devices) for devices in answer["none"].values()] == [{"nothing set"}] * 2


def test_what_the_cluster_does_not_have_is_refused(answer):
    assert answer["three workers"].startswith("SlotsError: 3 workers need 3 slots")
    assert "takes 2 GPUs" in answer["three workers"]
    assert answer["three each"].startswith("DeviceError: num_gpus_per_worker=3")
    assert "spark.executor.resource.gpu.amount=3" in answer["three each"]
