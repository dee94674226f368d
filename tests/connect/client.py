"""A process that is a client of Spark Connect alone: it can import no part that needs Java.

``pyspark-client`` has neither py4j nor `pyspark.core`. Without them no JVM can be started.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

MISSING = ("py4j", "pyspark.core")


class _Missing(MetaPathFinder):
    """Finds nothing of what a client does not have, and says so."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in MISSING or name.startswith(tuple(f"{one}." for one in MISSING)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def be_a_client() -> None:
    """Let this process import what ``pyspark-client`` has, and nothing else of pyspark."""
    there = [name for name in sys.modules if name in MISSING]
    assert not there, f"too late: {there} are imported already"
    sys.meta_path.insert(0, _Missing())


def leave_out(items: list[pytest.Item]) -> list[pytest.Item]:
    """Take tests without a session from the list, and return them; skip those of classic Spark."""
    used: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        (used if "spark" in getattr(item, "fixturenames", ()) else left).append(item)
        for marker in item.iter_markers("classic"):
            item.add_marker(pytest.mark.skip(reason=f"classic Spark alone: {marker.args[0]}"))
    items[:] = used
    return left
