"""Units of tests: those that share warm ranks stay together, and long ones begin first."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests import units


def item(nodeid: str, *fixtures: str, marks: tuple[str, ...] = (), **params: Any) -> Any:
    """A test as pytest collects it."""
    callspec = {"callspec": SimpleNamespace(params=params)} if params else {}
    return SimpleNamespace(
        nodeid=nodeid,
        fixturenames=fixtures,
        get_closest_marker=lambda name: name if name in marks else None,
        **callspec,
    )


def test_tests_of_one_framework_s_ranks_are_a_unit_over_all_files() -> None:
    bench = item("tests/a.py::test[tf2-1]", "keras_bench", "bench", bench="tf2", more=1)
    assert units.group_of(bench) == "warm tf2"
    assert units.group_of(item("tests/a.py::test", "ranks")) == "warm ranks"
    assert units.group_of(item("tests/a.py::test[1]", "torch_ranks", n=1)) == "warm torch_ranks"
    assert units.group_of(item("tests/a.py::test", "spark")) is None


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/a.py::test", "tests/a.py"),
        ("tests/a.py::Class::test[x@y::z]", "tests/a.py"),
        ("tests/a.py::test[tf2]@warm tf2", "warm tf2"),
        ("tests/a.py::test[x@y]@warm tf2", "warm tf2"),
    ],
)
def test_the_unit_of_a_test_is_read_from_its_name(nodeid: str, unit: str) -> None:
    assert units.unit_of(nodeid) == unit


def test_long_units_begin_first() -> None:
    pure = [item("pure.py::test_1"), item("pure.py::test_2")]
    with_spark = [item("spark.py::test_1"), item("spark.py::test_2", "spark")]
    slow = [item("slow.py::test_1"), item("slow.py::test_2", marks=("slow",))]
    warm = [item(f"{name}.py::test[tf2]", "bench", bench="tf2") for name in ("pure", "slow")]
    given = [pure[0], warm[0], pure[1], *with_spark, slow[0], warm[1], slow[1]]
    assert units.in_order(given) == [*warm, *slow, *with_spark, *pure]


def test_xdist_may_write_a_group_behind_a_tests_name(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = f"{request.node.nodeid}@warm"
    monkeypatch.setattr(request.node, "_nodeid", written)
    assert request.node.nodeid == written
