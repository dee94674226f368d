"""Imports go where CONTRIBUTING's diagram says: the page is read here, so it cannot be wrong."""

import re
import sys
from pathlib import Path

import pytest

from tests.source_tree import Import, Module, imports, modules

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
LINE = re.compile(r"  (\S+) +<-(.*)")
#: What follows a room's imports, behind at least two blanks.
MEANING = re.compile(r"\s{2,}\S.*$")

FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "jax", "jaxlib", "torch", "torchmetrics"}
SPARK = {"pyspark", "py4j"}
KNOWS_SPARK = {
    *("orca", "automl", "mlflow", "ml", "learn", "data", "driver", "context"),
    *("worker.task", "worker.shards"),
}
SHIPS_A_WORKER_FUNCTION = {
    "zoo.orca.driver.stage",
    "zoo.orca.driver.predict",
    "zoo.orca.driver.column_function",
}
STARTS_A_CHILD = {"zoo.orca.mlflow.pyfunc", "zoo.orca.driver.early_child"}
WIRE_PACKAGES = {"numpy", "pyarrow", "safetensors", "cloudpickle", "zoo", *sys.stdlib_module_names}
NETWORK = {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "http", "urllib"}
MOST_MODULES = 16


def read_rooms() -> dict[str, set[str]]:
    """The diagram: each room, and the rooms that it may import from."""
    text = PAGE.read_text().partition("```text\n")[2].partition("```")[0]
    rooms: dict[str, set[str]] = {}
    room = ""
    for line in text.splitlines():
        found = LINE.match(line)
        if found:
            room, rest = found.group(1), f" {found.group(2).strip()}"
            if len(found.group(2)) - len(found.group(2).lstrip()) > 1:  # nothing but a meaning
                rest = ""
            rooms[room] = set()
        elif line.startswith("   ") and room:
            rest = line.strip() if len(line) - len(line.lstrip()) < 40 else ""
        else:
            room, rest = "", ""
        if room:
            rooms[room].update(MEANING.sub("", rest).split())
    return rooms


ROOMS = read_rooms()


def room_of(name: str) -> str:
    """The room that a module of the package is in: the longest name in the diagram."""
    parts = name.split(".")[2:]
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in ROOMS:
            return ".".join(parts[:end])
    return "orca"


def is_allowed(module: Module, found: Import) -> bool:
    """Whether an import of the package's own is in the diagram, or an exception that it names."""
    here, there = room_of(module.name), room_of(found.target)
    if there in ("orca", here):
        # Python imports zoo.orca itself before anything in it, whoever asks.
        return True
    if here == "orca":
        return there in ("context", "gone")
    if there == "worker.task":
        return module.name in SHIPS_A_WORKER_FUNCTION | STARTS_A_CHILD
    if here == "learn" and there.startswith("frameworks"):
        return found.is_lazy
    if here == "frameworks":
        return there in ROOMS[here] | {"frameworks.keras", "frameworks.settings"}
    return there in ROOMS[here]


def is_allowed_package(module: Module, found: Import) -> bool:
    """Whether an import from outside the package is one that this room allows."""
    here, package = room_of(module.name), found.target.partition(".")[0]
    if package in FRAMEWORKS:
        lazily = here in ("learn", "worker.shards") and found.is_lazy
        return here.startswith("frameworks") or lazily
    if package in SPARK:
        return here in KNOWS_SPARK
    if here == "wire":
        return package in WIRE_PACKAGES - NETWORK
    return True


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_imports_are_in_the_diagram(module):
    wrong = [
        f"{module.path.name}:{found.line} imports {found.target}"
        for found in imports(module)
        if not (
            is_allowed(module, found)
            if found.target.startswith("zoo")
            else is_allowed_package(module, found)
        )
    ]
    assert not wrong


def test_every_module_is_in_a_room():
    outside = {m.name for m in modules() if room_of(m.name) == "orca"}
    assert outside == {"zoo", "zoo.orca", "zoo.common", "zoo.common.nncontext"}


def test_every_room_is_there_and_every_import_of_the_diagram_is_one():
    names = {module.name for module in modules()}
    assert {f"zoo.orca.{room}" for room in ROOMS} <= names
    for room, allowed in ROOMS.items():
        found = {
            room_of(one.target)
            for module in modules()
            if room_of(module.name) == room
            for one in imports(module)
            if one.target.startswith("zoo.orca.")
        }
        assert allowed <= found, f"{room} imports nothing from {allowed - found}"


def test_no_folder_is_crowded():
    folders: dict[Path, int] = {}
    for module in modules():
        if module.path.name != "__init__.py":
            folders[module.path.parent] = folders.get(module.path.parent, 0) + 1
    assert not {str(path): n for path, n in folders.items() if n > MOST_MODULES}
