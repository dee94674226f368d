"""A Spark job that hangs fails its test, wherever it was started, and the run goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import _time_limit

ROOT = Path(__file__).parents[1]

TESTS = """
import time

import pytest


@pytest.fixture(scope="session")
def never(spark):
    def sleep(row):
        time.sleep(600)

    spark.sparkContext.parallelize([0], 1).map(sleep).collect()


def test_spark_starts(spark):
    assert spark.range(3).count() == 3


@pytest.mark.timeout(6)
def test_that_hangs(never):
    pass


def test_the_next(spark):
    assert spark.range(3).count() == 3
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_fixture_of_the_session_that_hangs_fails_its_test_alone(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", "--timeout=100"]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path / "test_hangs.py")]
    ended = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "2 passed, 1 error" in ended.stdout, ended.stdout + ended.stderr
    assert "Spark's jobs are cancelled: the limit of 6 s ends" in ended.stdout


@pytest.mark.parametrize("option", [None, 0, 70])
def test_the_limit_is_the_one_that_pytest_was_given(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, option: float | None
) -> None:
    monkeypatch.delenv("PYTEST_TIMEOUT", raising=False)
    monkeypatch.setattr(request.config.option, "timeout", option)
    stated = float(request.config.getini("timeout"))
    assert _time_limit(request.node) == (stated if option is None else option)


@pytest.mark.timeout(timeout=90)
def test_a_test_s_own_limit_goes_before_it(request: pytest.FixtureRequest) -> None:
    assert _time_limit(request.node) == 90
