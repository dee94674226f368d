"""Where a child looks for modules, and in which order."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from zoo.orca.wire.paths import LAST_PATHS, add_last_paths, own_paths, search_paths

STDLIB, SITE = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")


def test_the_current_directory_comes_last_and_what_was_shipped_first() -> None:
    paths = ["/home/me", "/spark/files", "/spark/files/shop.zip", "/lib", STDLIB, SITE, "/extra"]
    first, last = search_paths(paths, "/zoo", {"/home/me"})
    assert first == ["/zoo", "/spark/files", "/spark/files/shop.zip", "/lib"]
    assert last == ["/home/me", "/extra"]


def test_a_programs_directory_comes_last_also_where_pythonpath_names_it() -> None:
    first, last = search_paths(["/work", "/lib", "/home/me", STDLIB], "/zoo", {"/work", "/home/me"})
    assert (first, last) == (["/zoo", "/lib"], ["/work", "/home/me"])


def test_an_installed_package_is_found_without_our_help() -> None:
    first, last = search_paths(["", "/home/me", STDLIB, SITE], SITE, {"/home/me"})
    assert (first, last) == ([], ["/home/me"])


def test_last_paths_are_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/a", STDLIB])
    monkeypatch.setenv(LAST_PATHS, os.pathsep.join(["/a", "/b", "/b", ""]))
    add_last_paths()
    assert sys.path == ["/a", STDLIB, "/b"]


def test_own_paths_are_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "lib", "/a", STDLIB, SITE])
    assert own_paths() == [os.path.join(os.getcwd(), ""), os.path.join(os.getcwd(), "lib"), "/a"]


PARENT = """
import os, pickle, sys
from zoo.orca.worker.task.child_process import Child
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import ModelSpec, PredictJob
from zoo.orca.wire.messages.pipe import Predict, Ready
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.packing import pack
sys.path.insert(0, os.getcwd())
child = Child({})
def creator(config):
    import mine, six
    from zoo.orca.frameworks.fake import LinearModel
    return LinearModel(features=mine.FEATURES)
model = ModelSpec(framework="fake", creator=pack(creator, "m"), config=pack({}, "c"))
job = PredictJob(model=model, columns=FeatureSpec(features=()), state=None, seed=0)
child.send(Predict(job=pickle.dumps(job)), heartbeat=30)
print(child.wait(Ready, Failure, heartbeat=60))
child.stop()
"""


@pytest.mark.timeout(90)
def test_a_users_files_do_not_shadow_packages_in_the_child(tmp_path: Path) -> None:
    for name in ("random", "types", "copy", "six", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the package')")
    (tmp_path / "mine.py").write_text("FEATURES = 1")
    root = Path(__file__).parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-P", "-c", PARENT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert "Ready()" in done.stdout, done.stdout + done.stderr
