"""The summary of all results: pure functions of what benchmarks have written."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from _overview import LINES, NAMES, Line, SumLine, overview  # noqa: E402

LIMIT = ("the import", "import", "alone")


def run(contestant: str, **figures: float) -> dict[str, object]:
    """One run, as a benchmark writes it."""
    return {"round": 1, "contestant": contestant, "figures": figures}


def line(unit: str) -> Line:
    """A line with two other ways, and a limit."""
    peers = {"one": "x: one", "two": "x: two"}
    return Line(what="w", page="p", ours="o", figure="f", peers=peers, limit=LIMIT, unit=unit)


@pytest.mark.parametrize(
    ("unit", "cells"),
    [
        ("s", ["4 s", "5 s (one)", "0.80", "3 s (the import)"]),
        ("rows/s", ["4 rows/s", "8 rows/s (two)", "0.50", "3 rows/s (the import)"]),
    ],
)
def test_a_line_has_the_medians_and_the_best_other_way(unit, cells):
    ours = [run("o", f=value) for value in (9.0, 4.0, 1.0)]
    runs = [*ours, run("x: one", f=5.0), run("x: two", f=8.0), run("import", alone=3.0)]
    found = line(unit).cells({"p": {"runs": runs}})
    assert found == ["w", *cells, "[p](performance-tables.md#p)"]


def test_what_was_not_measured_is_a_dash():
    assert line("s").cells({})[1:5] == ["–"] * 4
    assert line("s").cells({"p": {"runs": [run("o", f=2.0)]}})[1:5] == ["2 s", "–", "–", "–"]


def test_the_limit_of_a_sum_is_the_least_bytes_at_the_link_s_speed():
    point = {"hosts": 4, "ranks": 2, "Gbit/s": 10, "size": "1 MB", "least": 2.5e6}
    point["seconds"] = {"orca": [0.004, 0.006, 0.004], "gloo": [0.016]}
    sums = SumLine(what="w", page="p", ours="orca", figure="1 MB", unit="ms", gbits=10)
    other = {**point, "Gbit/s": 1, "least": 1.0}
    found = sums.cells({"p": {"points": [other, point]}})
    assert found[1:5] == ["4 ms", "16 ms (gloo)", "0.25", "2 ms (the link)"]
    assert sums.cells({"p": {"points": [other]}})[1:5] == ["–"] * 4


def test_every_line_has_results_and_a_line_of_its_own():
    results = {
        path.stem: json.loads(path.read_text()) for path in BENCHMARKS.glob("results/*.json")
    }
    assert len({one.what for one in LINES}) == len(LINES)
    for one in LINES:
        cells = one.cells(results)
        assert cells[1] != "–", f"{one.what}: nothing is called {one.ours!r} / {one.figure!r}"
        assert not one.peers or cells[2] != "–", one.what
        assert not one.limit or cells[4] != "–", one.what
    assert all(name in overview(results).splitlines()[0] for name in NAMES)
