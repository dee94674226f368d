"""Tests of the driver a second time: over Spark Connect, from a process that has no Java.

These are a part, for every run of the suite; ``scripts/connect`` runs the whole.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.connect.again import NoJava, command
from tests.connect.client import LEFT_OUT
from tests.connect.server import ROOT

#: What goes to the server and comes back: training, checkpoints, orders, limits, predictions.
SUBSET = [
    "tests/driver/test_fit.py",
    "tests/driver/test_order.py",
    "tests/driver/test_memory.py",
    "tests/driver/test_predict.py",
    "tests/driver/test_storage.py",
    "tests/driver/test_column_function.py::test_the_weights_are_those_of_the_model",
]
#: How many of them hold at least; the others say why they are of classic Spark.
LEAST = 40


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_drivers_tests_hold_over_spark_connect(connect_server: str, tmp_path: Path) -> None:
    java = NoJava(tmp_path)
    ended = subprocess.run(
        [*command(connect_server, "-q", "--basetemp", str(tmp_path / "client")), *SUBSET],
        capture_output=True,
        text=True,
        timeout=580,
        env=java.variables,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    told = ended.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None and int(passed[1]) >= LEAST, told
    assert not java.was_started


def test_what_is_left_out_is_there() -> None:
    assert [name for name in LEFT_OUT if not (ROOT / name).exists()] == []
