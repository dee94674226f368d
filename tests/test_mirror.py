"""Tests mirror the tree: what a module does is looked for in the test module of its name."""

from fnmatch import fnmatch
from pathlib import Path

from tests.source_tree import SRC, modules

TESTS = Path(__file__).parent

#: Modules without a test module of their own, as patterns; where they are tested, and why there.
ELSEWHERE = {
    "context.class_archive_*": ("context/test_class_archive.py", "one archive, made and found"),
    "context.[prs]*": ("context/test_context.py", "what init_orca_context and OrcaContext do"),
    "driver.frame.columns": ("driver/frame/test_source.py", "columns through a real stage"),
    "driver.request": ("driver/test_fit.py", "a request does nothing but run its stage"),
    "errors": ("test_public_surface.py", "the tree of errors is public"),
    "files": ("driver/test_storage.py", "paths and URLs, as states are saved"),
    "frameworks.base": ("frameworks/test_equalities.py", "names of another module's"),
    "frameworks.common.*": ("frameworks/test_equalities.py", "parts of every fit"),
    "frameworks.fake": ("driver/test_fit.py", "the engine's equalities are its own"),
    "frameworks.gradients.layout": ("frameworks/gradients/test_fused_sum.py", "a sum's buffers"),
    "frameworks.keras.*": ("frameworks/keras/test_equal.py", "parts of fits equal to Keras's"),
    "frameworks.settings.of_*": ("frameworks/settings/test_fresh.py", "all settings are one list"),
    "frameworks.tf2": ("frameworks/test_equalities.py", "one of the families there"),
    "frameworks.torch.*": ("frameworks/torch/test_equal.py", "parts of fits equal to a loop's"),
    "learn.pytorch.*": ("learn/test_pytorch.py", "a user's day"),
    "learn.metrics": ("frameworks/torch/metrics/test_orca_metrics.py", "values by hand"),
    "learn.keras*": ("learn/test_keras.py", "a user's day"),
    "learn.*": ("learn/test_tf2.py", "a user's day"),
    "wire.messages.*": ("wire/test_messages.py", "one sweep over all messages"),
    "wire.order": ("wire/test_plan_windows.py", "an order is a plan's"),
    "wire.processors": ("worker/child/test_processors.py", "where threads run"),
    "wire.report": ("driver/reports/test_listener.py", "an address, used there"),
    "wire.torch_options": ("frameworks/torch/test_equal.py", "fields, used there"),
    "worker.child.[cr]*": ("cluster/test_lost_executor.py", "a fit that is begun again"),
    "worker.child.[jp]*": ("worker/child/test_runner.py", "parts of a job in the child"),
    "worker.collective.*": ("worker/collective/test_ring.py", "each transport, by sweeps"),
    "worker.pipes": ("worker/child/test_runner.py", "messages between two processes"),
    "worker.plain_words": ("worker/child/test_describing.py", "what of an error is told"),
    "worker.plugin": ("frameworks/test_equalities.py", "a protocol, used there"),
    "worker.rows.*": ("worker/rows/test_dataset.py", "from Arrow to arrays"),
    "worker.task.*": ("worker/child/test_runner.py", "a task and its child"),
}


def own_test(name: str) -> Path:
    """Where the tests of a module are if it has a test module of its own."""
    *folders, last = name.split(".")
    return TESTS.joinpath(*folders, f"test_{last}.py")


def names() -> list[str]:
    """Every module that may have tests, by its name inside of the package."""
    return [
        ".".join(module.name.split(".")[2:])
        for module in modules()
        if module.path.parent != SRC and module.path.stem not in ("__init__", "__main__")
    ]


def test_every_module_is_tested_where_one_looks_for_it():
    lost = [
        name
        for name in names()
        if not own_test(name).exists() and not any(fnmatch(name, one) for one in ELSEWHERE)
    ]
    assert not lost, "give them a test module, or name the one that tests them in ELSEWHERE"


def test_what_is_tested_elsewhere_is_there_and_needed():
    without = [name for name in names() if not own_test(name).exists()]
    for pattern, (path, _) in ELSEWHERE.items():
        assert (TESTS / path).exists(), path
        assert any(fnmatch(name, pattern) for name in without), f"{pattern} is of no use"
