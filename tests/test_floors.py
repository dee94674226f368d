"""Imports point down only: `docs/design.md` draws the floors."""

import sys

import pytest

from tests.source_tree import Import, Module, imports, modules

CONTEXT_FLOOR = (
    "context",
    "clusters",
    "java",
    "places",
    "request",
    "sessions",
    "spark_context",
    "class_archive",
    "class_archive_maker",
    "class_archive_place",
)

# Area -> the areas it may import from, besides itself.
FLOORS = {
    "orca": {"context"},
    "learn": {"driver", "data", "context", "wire", "files", "errors"},
    "driver": {"data", "context", "wire", "files", "errors"},
    "data": {"context", "wire", "errors"},
    "context": {"errors"},
    "frameworks": {"worker", "wire", "files", "errors"},
    "worker": {"wire", "files", "errors"},
    "wire": {"errors"},
    "files": {"errors"},
    "errors": set(),
}

FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "jax", "jaxlib", "torch", "torchmetrics"}
SPARK = {"pyspark", "py4j"}
SHIPS_A_WORKER_FUNCTION = {"zoo.orca.driver.stage", "zoo.orca.driver.predict"}
SPARK_TASK = "zoo.orca.worker.task"
WIRE_PACKAGES = {"numpy", "pyarrow", "safetensors", "cloudpickle", "zoo", *sys.stdlib_module_names}
NETWORK = {"socket", "socketserver", "ssl", "select", "selectors", "asyncio", "http", "urllib"}


def area(name: str) -> str:
    """The floor that a module of the package stands on."""
    parts = name.split(".")
    if len(parts) <= 2:
        return "orca"
    return "context" if parts[2] in CONTEXT_FLOOR else parts[2]


def points_down(module: Module, found: Import) -> bool:
    """Whether an import of the package's own is one that the floors allow."""
    here, there = area(module.name), area(found.target)
    if there in ("orca", here):
        # Python imports zoo.orca itself before anything in it, whoever asks.
        return True
    if there == "worker" and module.name in SHIPS_A_WORKER_FUNCTION:
        return True
    if here == "learn" and there == "frameworks":
        return found.is_lazy
    return there in FLOORS[here]


def is_allowed_package(module: Module, found: Import) -> bool:
    """Whether an import from outside the package is one that this floor allows."""
    here, package = area(module.name), found.target.partition(".")[0]
    if package in FRAMEWORKS:
        return here == "frameworks" or (here == "learn" and found.is_lazy)
    if package in SPARK:
        return here not in ("worker", "frameworks", "wire") or module.name == SPARK_TASK
    if here == "wire":
        return package in WIRE_PACKAGES - NETWORK
    return True


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_imports_point_down(module):
    wrong = [
        f"{module.path.name}:{found.line} imports {found.target}"
        for found in imports(module)
        if not (
            points_down(module, found)
            if found.target.startswith("zoo")
            else is_allowed_package(module, found)
        )
    ]
    assert not wrong


def test_every_module_stands_on_a_floor():
    assert {area(module.name) for module in modules()} <= set(FLOORS)
