"""Jobs by themselves."""

import os
import subprocess
import sys
from pathlib import Path

from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import pack

PROGRAM = """
from zoo.orca.wire.job import ModelSpec
from zoo.orca.wire.packing import pack

class Model:
    size = {size}

def creator(config):
    return Model()

parts = {{"creator": pack(creator, "creator"), "config": pack({{"rate": 0.1}}, "config")}}
print(ModelSpec(framework="fake", **parts).fingerprint())
"""


def fingerprint_of(size: int) -> str:
    """The fingerprint of a program's model whose class travels by value."""
    program = PROGRAM.format(size=size)
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, check=True, capture_output=True).stdout.decode()


def test_a_fingerprint_is_the_same_in_every_process_and_another_for_another_model() -> None:
    first, again, other = map(fingerprint_of, (3, 3, 4))
    assert first == again != other


def test_the_files_of_a_model_come_in_one_order(tmp_path: Path) -> None:
    """A function of one file that calls those of others: the pickle has the text of each."""
    for name in ("first", "second", "third"):
        (tmp_path / f"{name}.py").write_text(f"def call():\n    return {name!r}\n")
    (tmp_path / "model.py").write_text(
        "import first, second\nfrom third import call\n\n"
        "def creator(config):\n    return first.call(), second.call(), call()\n"
    )
    program = (
        "import model\nfrom zoo.orca.wire.job import ModelSpec\n"
        "from zoo.orca.wire.packing import pack\n"
        "parts = {'creator': pack(model.creator, 'a'), 'config': pack({}, 'b')}\n"
        "print(ModelSpec(framework='fake', **parts).fingerprint())\n"
    )
    found = set()
    for seed in range(6):
        paths = os.pathsep.join([str(tmp_path), *sys.path])
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": paths}
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True)
        found.add(ran.stdout)
    assert len(found) == 1


def test_every_part_of_a_model_counts() -> None:
    parts = {"framework": "fake", "creator": pack(len, "a"), "config": pack({}, "b")}
    own = ModelSpec(**parts).fingerprint()
    changes = {"framework": "tf2", "creator": pack(max, "a"), "config": pack({"a": 1}, "b")}
    for name, value in {**changes, "compile_args": pack(len, "c")}.items():
        assert ModelSpec(**{**parts, name: value}).fingerprint() != own
