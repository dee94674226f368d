"""Which Python the workers run, and what is said of one that cannot do the work."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from tests.jobs import no_job
from tests.jvms import environment_without
from zoo.orca.driver.session.pythons import ask_worker, check_python, is_own_python, workers_python
from zoo.orca.errors import ContextError, MissingPackageError

ROOT = Path(__file__).parents[3]

classic = pytest.mark.classic("a server's workers run the Python that it was started with")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of this version without any package."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, symlinks=True, with_pip=False)
    return home / "bin" / "python3"


@pytest.fixture
def choose(spark: SparkSession, monkeypatch: pytest.MonkeyPatch):
    """Give the session the Python that ``PYSPARK_PYTHON`` would have."""
    return lambda python: monkeypatch.setattr(spark.sparkContext, "pythonExec", str(python))


@classic
def test_without_a_choice_functions_are_wrapped_for_this_programs_python(
    spark: SparkSession, choose
) -> None:
    choose("python3")
    assert is_own_python(spark)
    check_python(spark)
    with workers_python(spark):
        assert spark.sparkContext.pythonExec == sys.executable
    assert spark.sparkContext.pythonExec == "python3"


@classic
def test_a_choice_is_kept(spark: SparkSession, choose, bare: Path) -> None:
    choose(bare)
    with workers_python(spark):
        assert spark.sparkContext.pythonExec == str(bare)
    assert not is_own_python(spark)


@classic
def test_this_programs_python_by_another_name_is_its_own(
    spark: SparkSession, choose, tmp_path: Path
) -> None:
    shim = tmp_path / "shim"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    choose(shim)
    assert is_own_python(spark)
    check_python(spark)


@classic
def test_a_python_without_pyarrow_is_refused_before_the_stage(
    spark: SparkSession, choose, bare: Path
) -> None:
    choose(bare)
    frame = spark.createDataFrame([(1.0, 2.0)], "x double, y double")
    with no_job(spark), pytest.raises(MissingPackageError) as caught:
        FakeEstimator.of(linear(1)).fit(frame)
    first, second = str(caught.value).splitlines()
    version = ".".join(map(str, sys.version_info[:3]))
    assert first == f"the workers' Python, {bare} ({version}), has no numpy and no pyarrow"
    assert f"os.environ['PYSPARK_PYTHON'] = {sys.executable!r}" in second
    assert f"{bare} -m pip install numpy pyarrow" in second


@classic
def test_another_version_and_none_at_all_are_refused(
    spark: SparkSession, choose, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    told = '{"executable": "/opt/python", "version": "3.8.18", "prefix": "/opt", "lacks": []}'
    other.write_text(f"#!/bin/sh\necho '{told}'\n")
    other.chmod(0o755)
    choose(other)
    with pytest.raises(ContextError, match=r"workers' Python is /opt/python \(3.8.18\), and this"):
        check_python(spark)
    choose(tmp_path / "none")
    with pytest.raises(ContextError, match=r"workers' Python, .*/none, cannot be started"):
        check_python(spark)


@classic
def test_a_python_that_is_mended_is_asked_again_and_a_fit_one_is_not(
    spark: SparkSession, choose, tmp_path: Path
) -> None:
    chosen, runs = tmp_path / "python", tmp_path / "runs"
    choose(chosen)
    for answer in ("exit 1", "echo no Python at all", "echo 3"):
        chosen.write_text(f"#!/bin/sh\n{answer}\n")
        chosen.chmod(0o755)
        with pytest.raises(ContextError, match="cannot be started"):
            check_python(spark)
    chosen.write_text(f'#!/bin/sh\necho run >> {runs}\nexec {sys.executable} "$@"\n')
    check_python(spark)
    assert is_own_python(spark)
    assert runs.read_text() == "run\n"


def test_a_worker_says_which_python_it_runs(spark: SparkSession) -> None:
    found = ask_worker(spark)
    assert found is not None
    assert (found.executable, found.lacks) == (sys.executable, ())
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.host == os.uname().nodename


PROGRAM = """
import sys
from pyspark.sql import SparkSession

if sys.argv[1] == "classic":
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)
    spark = builder.getOrCreate()
else:
    from tests.over_connect import connect_session

    spark = connect_session("local[2]")
from tests.fake_estimator import FakeEstimator, linear

frame = spark.createDataFrame([(1.0, 2.0), (2.0, 4.0)], "x double, y double")
estimator = FakeEstimator.of(linear(1), 2)
try:
    print(estimator.fit(frame).history["loss"])
    print(estimator.predict(frame).count())
except ImportError as error:
    print(error)
spark.stop()
"""


def run_with_a_bare_python(kind: str, bare: Path) -> list[str]:
    """Run the program where a python3 without packages is the first on PATH; return its lines."""
    environment = environment_without("PYSPARK_")
    environment["PATH"] = f"{bare.parent}:{environment['PATH']}"
    environment["PYTHONPATH"] = f"{ROOT}:{ROOT / 'src'}"
    command = [sys.executable, "-c", PROGRAM, kind]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ended.stdout, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.slow
def test_a_users_local_session_runs_this_programs_python(bare: Path) -> None:
    assert run_with_a_bare_python("classic", bare) == ["[10.0]", "2"]


@pytest.mark.slow
def test_spark_connect_says_which_python_ran_and_what_it_lacks(bare: Path) -> None:
    first, second = run_with_a_bare_python("connect", bare)
    assert first.startswith(f"the workers' Python, {bare} (")
    assert first.endswith("has no numpy and no pyarrow")
    assert f"os.environ['PYSPARK_PYTHON'] = {sys.executable!r}" in second
