"""Tests of the driver a second time: over Spark Connect, from a process that has no Java."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.connect.server import ROOT, environment

#: What goes to the server and comes back: training, checkpoints, orders, limits, predictions.
SUBSET = [
    "tests/driver/test_fit.py",
    "tests/driver/test_order.py",
    "tests/driver/test_memory.py",
    "tests/driver/test_predict.py",
    "tests/driver/test_storage.py",
    "tests/driver/elastic/test_going_on.py",
    "tests/driver/frame/test_sequence.py",
]
#: How many of them hold at least; the others say why they are of classic Spark.
LEAST = 50


@pytest.fixture
def no_java(tmp_path: Path) -> dict[str, str]:
    """The environment of a program on whose PATH `java` leaves a trace."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    java.chmod(0o755)
    kept = {
        name: value
        for name, value in environment().items()
        if name != "JAVA_HOME" and not name.startswith("PYTEST_")
    }
    return kept | {"PATH": f"{java.parent}{os.pathsep}{kept['PATH']}"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_drivers_tests_hold_over_spark_connect(
    connect_server: str, no_java: dict[str, str], tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--connect"]
        + [connect_server, "--basetemp", str(tmp_path / "client"), *SUBSET],
        capture_output=True,
        text=True,
        timeout=580,
        env=no_java,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stdout[-12_000:] + ended.stderr[-2_000:]
    told = ended.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None and int(passed[1]) >= LEAST, told
    assert not (tmp_path / "called").exists(), "java was started"
