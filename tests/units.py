"""What the two processes of the whole suite take turns at: units of tests.

A unit is a file, so that its fixtures are made once. But some tests of many files share processes
that have a framework imported. They are one unit for each framework: in units of files, each file
would start and end these processes for itself, which takes longer than its tests.
"""

from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

#: Fixtures of the session that are warm ranks. Of `bench`, each framework's are apart.
_WARM = ("bench", "ranks", "torch_ranks")


class Units(LoadScopeScheduling):
    """Gives a process one unit after another, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """Return the unit of a test by its name: xdist writes that of a group behind the last @."""
    name, _, group = nodeid.rpartition("@")
    return group if name and "]" not in group else nodeid.partition("::")[0]


def group_of(item: pytest.Item) -> str | None:
    """Return which warm ranks a test shares; None if it has a unit with its file."""
    fixtures = getattr(item, "fixturenames", ())
    for name in _WARM:
        if name in fixtures:
            callspec = getattr(item, "callspec", None)
            family = callspec.params.get(name) if callspec is not None else None
            return f"warm {name}" if family is None else f"warm {family}"
    return None


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests so that long units begin first.

    One that begins last leaves the other process without work for as long as it takes. First come
    groups, then files with a test that is marked as slow, those with Spark, and all others.
    """
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        units.setdefault(group_of(item) or item.nodeid.partition("::")[0], []).append(item)
    return [item for unit in sorted(units.values(), key=_rank) for item in unit]


def _rank(unit: Sequence[pytest.Item]) -> int:
    if group_of(unit[0]) is not None:
        return 0
    if any(item.get_closest_marker("slow") is not None for item in unit):
        return 1
    return 2 if any("spark" in getattr(item, "fixturenames", ()) for item in unit) else 3
