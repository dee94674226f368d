"""Jobs by themselves."""

import os
import subprocess
import sys

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


def test_every_part_of_a_model_counts() -> None:
    parts = {"framework": "fake", "creator": pack(len, "a"), "config": pack({}, "b")}
    own = ModelSpec(**parts).fingerprint()
    changes = {"framework": "tf2", "creator": pack(max, "a"), "config": pack({"a": 1}, "b")}
    for name, value in {**changes, "compile_args": pack(len, "c")}.items():
        assert ModelSpec(**{**parts, name: value}).fingerprint() != own
