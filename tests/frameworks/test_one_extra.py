"""One extra is enough for its framework; a package that is missing is one error with the way out.

All of it in processes of their own that see a part of what is installed here.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.frameworks import one_extra_program as program

ROOT = Path(__file__).parents[2]

# The suite has test_floors.py and test_light_import.py, which see who imports what.
pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(300)]

# The finders that Python has, less what is hidden: everything else is as in an environment where
# the package is not installed, also for those who only ask whether it is.
_SITE = f"""\
import os, sys

HIDDEN = set(os.environ.get({program.HIDDEN!r}, "").split(","))


class Less:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

    def find_distributions(self, *args):
        for found in self.finder.find_distributions(*args):
            if found.name.replace("-", "_").removesuffix("_cpu") not in HIDDEN:
                yield found

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [f if not hasattr(f, "find_distributions") else Less(f) for f in sys.meta_path]
"""

#: What the errors say must be installed.
LINES = {family: f"pip install 'zoo-orca[{','.join(e)}]'" for family, e in program.EXTRAS.items()}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    made = tmp_path_factory.mktemp("one-extra")
    (made / "site").mkdir()
    (made / "site" / "sitecustomize.py").write_text(_SITE)
    # The workers' Python is an environment of its own with the packages of this one: were it the
    # driver's, the driver would see for itself that it lacks the framework.
    venv.create(made / "workers", symlinks=True)
    (found,) = (made / "workers").glob("lib/python*/site-packages")
    (found / "packages.pth").write_text(sysconfig.get_path("purelib"))
    (found / "sitecustomize.py").write_text(_SITE)
    return made


def run(directory, part, hidden):
    """The program's answer in a process that lacks some packages."""
    frameworks = ("TF_", "KERAS_", "PYTHON", "SPARK", "PYSPARK")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(frameworks)}
    environment = kept | {
        "PYTHONPATH": os.pathsep.join(map(str, [directory / "site", ROOT / "src"])),
        program.HIDDEN: ",".join(sorted(hidden)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_HOME": str(directory / "keras"),
        "PYSPARK_PYTHON": str(directory / "workers" / "bin" / "python"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    # -P: this folder has folders named as frameworks are.
    command = [sys.executable, "-P", program.__file__, str(directory), part]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment, cwd=directory
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return json.loads(ran.stdout.splitlines()[-1]), ran.stderr


@pytest.fixture(scope="module")
def answered(directory):
    """What one Spark session saw, and wrote to its console."""
    return run(directory, "workers", program.ALL)


@pytest.fixture(scope="module")
def drivers(directory, answered):
    """What each family's driver, with its extras, predicts with the trained model."""
    hidden = {family: program.hidden_beside(*extras) for family, extras in program.EXTRAS.items()}
    with ThreadPoolExecutor(2) as two:
        answers = two.map(lambda family: run(directory, family, hidden[family])[0], hidden)
        return dict(zip(hidden, answers, strict=True))


def test_the_extras_are_those_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for extra, packages in program.PACKAGES.items():
        asked = {re.split(r"\W*[<>=]", name)[0].replace("-", "_") for name in extras[extra]}
        assert asked <= set(packages)
    # Tests of their own are about the packages of the others.
    others = "automl connect dev encryption image loops mlflow tensorboard".split()
    assert extras.keys() == {*program.PACKAGES, *others}


@pytest.mark.parametrize("family", program.EXTRAS)
def test_one_extra_is_enough_on_workers(answered, family):
    day = answered[0]["days"][family]
    assert day["loss"][1] < day["loss"][0]
    assert len(day["rows"]) == 40
    error = sum((predicted - y) ** 2 for y, predicted in day["rows"]) / 40
    assert error == pytest.approx(day["evaluated"]["validation_loss"], rel=1e-4)


def test_a_driver_needs_no_framework(answered):
    assert answered[0]["imported"] == []


@pytest.mark.parametrize("family", program.EXTRAS)
def test_one_extra_is_enough_on_the_driver(answered, drivers, family):
    rows = answered[0]["days"][family]["rows"]
    (low, *_), (high, *_) = drivers[family]["predicted"]
    assert rows[0][1] == pytest.approx(low, rel=1e-4, abs=1e-6)
    assert rows[20][1] == pytest.approx((low + high) / 2, rel=1e-4)


@pytest.mark.parametrize(("family", "package"), program.NEEDED)
def test_what_a_worker_lacks_is_one_error(answered, family, package):
    error = answered[0]["lacking"][f"{family} {package}"]
    assert error["type"] == "MissingPackageError", error["message"]
    assert re.search(f"the package '{package}' .*is not installed on", error["message"])
    assert error["message"].count("pip install") == 1
    assert LINES[family] in error["message"]
    assert "Traceback" not in answered[1]


@pytest.mark.parametrize("family", program.EXTRAS)
def test_what_the_driver_lacks_is_one_error(answered, family):
    error = answered[0]["days"][family]["get_model"]
    assert error["type"] == "MissingPackageError", error["message"]
    assert "get_model needs" in error["message"]
    assert LINES[family] in error["message"]
