"""Programs as users keep them: a script and modules beside it, started from anywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A program whose name is that of a package which frameworks import. Its own directory is where it
# is started; the package of the model's creator is elsewhere, where only the program looks.
SIX = """
import sys
from zoo.orca import OrcaContext, init_orca_context

if __name__ == "__main__":
    init_orca_context("local", cores=2, conf={"spark.ui.enabled": "false"})
spark = OrcaContext.get_spark_session()
sys.path.append(sys.argv[1])
from functools import partial
from shop.models import Options, build
from tests.fake_estimator import FakeEstimator

frame = spark.createDataFrame([(1.0, 2.0), (2.0, 4.0)], "x double, y double")


def lazy(config):
    from shop.models import build

    return build(Options(1), config)


for creator in (partial(build, Options(1)), lambda config: build(Options(1), config), lazy):
    estimator = FakeEstimator.of(creator, 2)
    print(estimator.fit(frame).history["loss"], estimator.predict(frame).count())


def session_inside(config):
    return OrcaContext.get_spark_session()


try:
    FakeEstimator.of(session_inside).fit(frame)
except Exception as error:
    print(type(error).__name__, error)
"""

MODELS = """
from dataclasses import dataclass

@dataclass
class Options:
    features: int

def build(options, config):
    import six
    from zoo.orca.frameworks.fake import LinearModel
    six.moves  # the package's, not the program's
    assert isinstance(options, Options)
    return LinearModel(features=options.features)
"""


@pytest.mark.slow
def test_a_program_called_like_a_package_with_its_own_modules_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "six.py").write_text(SIX)
    (tmp_path / "lib" / "shop").mkdir(parents=True)
    (tmp_path / "lib" / "shop" / "models.py").write_text(MODELS)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    ended = subprocess.run(
        [sys.executable, "six.py", str(tmp_path / "lib")],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env=environment,
    )
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("fit: ")]
    assert lines[:3] == ["[10.0] 2"] * 3, ended.stdout + ended.stderr
    assert lines[3].startswith("ContextError there is no Spark session inside a worker")


AGAIN = """
import sys
sys.path.insert(0, {directory!r})
import program
"""


def test_a_program_that_runs_again_inside_a_worker_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from zoo.orca import OrcaContext\nOrcaContext.get_spark_session()\n"
    )
    for variable in ("ZOO_ORCA_WORKER", "SPARK_PYTHON_RUNTIME"):
        ended = subprocess.run(
            [sys.executable, "-c", AGAIN.format(directory=str(tmp_path))],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), variable: "PYTHON_WORKER"},
        )
        told = ended.stderr.splitlines()[-2:]
        assert told[0] == (
            f"zoo.orca.errors.ContextError: {tmp_path / 'program.py'} runs a second time, inside a "
            "worker, because something there imports 'program'"
        )
        assert told[1].startswith("Rename the file if a package has that name")


FEW_ROWS = """
from zoo.orca import init_orca_context
from tests.fake_estimator import FakeEstimator, linear

spark = init_orca_context("local", cores=2, conf={"spark.ui.enabled": "false"})
estimator = FakeEstimator.of(linear(1))
estimator.fit(spark.createDataFrame([(1.0, 2.0)], "x double, y double"))
predicted = estimator.predict(spark.range(200000).selectExpr("double(id) as x"))
for _ in range(4):
    print(len(predicted.limit(5).toPandas()), len(predicted.take(3)))
"""


@pytest.mark.slow
def test_who_wants_a_few_rows_sees_no_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FEW_ROWS],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )
    assert (ended.stdout, ended.stderr) == ("5 3\n" * 4, "")
