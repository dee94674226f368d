"""A program leaves nothing on the disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
#: What is there on purpose: Keras writes its settings when it is imported, on any machine.
KEPT = {"home/.keras", "home/.keras/keras.json"}


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["fake", "tf2"])
def test_a_program_leaves_nothing(tmp_path, framework):
    for name in ("temporary", "home", "current", "local", "java"):
        (tmp_path / name).mkdir()
    before = found(tmp_path)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.frameworks.leftovers_program", str(tmp_path), framework],
        cwd=tmp_path / "current",
        env={
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(tmp_path / "temporary"),
            "HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "home" / ".cache"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if framework == "tf2":
        assert "between jobs: []" in done.stdout
    assert found(tmp_path) - before - KEPT == set()


def found(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}
