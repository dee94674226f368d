"""What benchmarks compute from what they measured: pure functions, no contestant runs."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import _bytes  # noqa: E402
import _pictures  # noqa: E402
import _plots  # noqa: E402
import _report  # noqa: E402
import _summary  # noqa: E402
import check  # noqa: E402
import epochs  # noqa: E402
import growth  # noqa: E402
from _report import Goal, Run  # noqa: E402


def test_contestants_take_turns_there_and_back():
    runs = _report.take_turns({"a": lambda: {"s": 1.0}, "b": lambda: {"s": 2.0}}, 2)
    assert [(run.round, run.contestant) for run in runs] == [(1, "a"), (1, "b"), (2, "b"), (2, "a")]


def test_values_are_by_round_whatever_the_order_of_runs():
    runs = [Run(2, "a", {"s": 20.0}), Run(1, "b", {"s": 5.0}), Run(1, "a", {"s": 10.0})]
    assert _report.values(runs, "a", "s") == [10.0, 20.0]
    assert _report.values(runs, "a", "other") == []


@pytest.mark.parametrize(
    ("value", "at_most", "mark"),
    [
        (0.99, False, "MISSED"),
        (1.0, False, "met"),
        (1.2, False, "reached"),
        (1.21, True, "MISSED"),
        (1.1, True, "met"),
        (0.7, True, "reached"),
    ],
)
def test_a_goal_is_on_one_side_of_its_bars(value, at_most, mark):
    must, reach = (1.2, 0.8) if at_most else (1.0, 1.2)
    assert Goal("x", value, must, reach, at_most=at_most).mark == mark


def test_a_ratio_is_of_medians_and_its_range_of_rounds():
    assert _report.ratio([2.0, 4.0, 9.0], [1.0, 4.0, 3.0]) == (4 / 3, "1–3")


def test_spread_of_nothing_is_a_dash():
    assert _report.spread([]) == "–"
    assert _report.spread([1.0, 1500.0, 2.0]) == "2 (1–1,500)"


def test_a_missed_goal_is_an_exit_code(tmp_path, capsys):
    met, missed = Goal("fast", 2.0, 1.0), Goal("slow", 0.5, 1.0)
    assert _report.conclude(tmp_path, [], [met]) == 0
    assert _report.conclude(tmp_path, [], [met, missed]) == 1
    assert "MISSED" in capsys.readouterr().out


def test_what_is_written_for_programs_is_what_people_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "RESULTS", tmp_path)
    goals = [Goal("fast", 0.5, 1.0, at_most=False)]
    runs = [Run(1, "a", {"s": 1.25})]
    sections = {"": "A setting.", "Times": "A table."}
    path = _report.write("one", "Title", sections, runs=runs, goals=goals, data={"rows": [1]})
    text = path.read_text()
    assert text.startswith("# Title\n")
    assert all(part in text for part in ("A setting.", "## Times", "| a ", "1.25", "MISSED"))
    assert _summary.read_goals(tmp_path)["one"][0]["mark"] == "MISSED"


def test_summary_tells_missed_from_broken():
    found = {"growth": [{"name": "exponent", "mark": "MISSED"}], "epochs": []}
    text, good = _summary.verdict(found, ["growth", "epochs"])
    assert text.splitlines() == ["missed: growth: exponent", "broke: epochs"]
    assert not good
    assert _summary.verdict({"growth": [{"name": "exponent", "mark": "met"}]}, [])[1]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.3])
def test_exponent_of_a_power_law(power):
    rows = [10, 30, 100]
    seconds = [7 * size**power for size in rows]
    assert growth.exponent(rows, seconds) == pytest.approx(power)
    assert growth.steps_between(rows, seconds) == pytest.approx([power, power])


def test_rates_leave_the_first_epoch_out():
    found = {"runs": [{"fit": "ncf-1-5000:256", "seconds": [50.0, 2.0, 1.0, 4.0]}]}
    assert epochs.rates(found) == {"ncf 256": 2500.0}


def test_least_bytes_are_dense_gradients_and_distinct_rows():
    dense, bias = np.zeros((3, 5), np.float32), np.zeros(2, np.float64)
    rows, numbers = np.zeros((4, 8), np.float32), np.array([7, 7, 1, 2])
    assert _bytes.least_of((dense, rows, numbers, bias)) == (60 + 16, 3 * 32)


def test_a_page_is_filled_where_there_are_results():
    page = (
        "before\n<!-- results: one / Times -->\nold\n<!-- end -->\n"
        "<!-- results: two / Times -->\nkept\n<!-- end -->\n<!-- plot: growth -->\n<!-- end -->\n"
    )
    result = {"sections": {"Times": "| new |"}, "command": "python x.py", "machine": "A machine."}
    filled = _plots.fill(page, {"one": result, "growth": result})
    assert "| new |" in filled and "`python x.py`" in filled and "old" not in filled
    assert "\nkept\n" in filled and "(images/growth.svg)" in filled
    assert _plots.fill(filled, {"one": result, "growth": result}) == filled


def test_what_results_must_hold_is_one_table():
    goals = [asdict(Goal("a ÷ b", 1.25, 1.0, detail="1–2")) | {"mark": "met"}]
    page = "<!-- goals: one other -->\n<!-- end -->\n"
    filled = _plots.fill(page, {"one": {"goals": goals}})
    assert "| a ÷ b " in filled and "| 1.25 " in filled and "| ≥ 1 " in filled
    assert "(#one)" in filled


def test_every_picture_is_drawn_of_the_results_that_there_are(tmp_path):
    pytest.importorskip("matplotlib")
    for name, one in _pictures.PICTURES.items():
        result = json.loads((_report.HERE / "results" / f"{one.result}.json").read_text())
        _pictures.draw(name, result, tmp_path / f"{name}.svg")
        assert f"plot: {name} -->" in _plots.PAGE.read_text()


def test_every_block_of_the_page_has_a_benchmark():
    page = "".join(page.read_text() for page in _plots.PAGES)
    found = list(_plots.BLOCK.finditer(page))
    assert len(found) == page.count("<!-- end -->") > 0
    assert [match[2] for match in found].count("overview") == 1
    named = [match[3] for match in found if match[2] != "overview"]
    blocks = [name for one in named for name in one.partition(" / ")[0].split()]
    # Results of a variant are its benchmark's, as in "epochs-pytorch".
    missing = [name for name in blocks if not (BENCHMARKS / f"{name.split('-')[0]}.py").is_file()]
    assert not missing


@pytest.mark.parametrize(
    ("value", "at_most", "before", "mark"),
    [
        (1.24, True, 1.0, "met"),
        (1.26, True, 1.0, "MISSED"),
        (0.81, False, 1.0, "met"),
        (0.79, False, 1.0, "MISSED"),
        (9.0, True, None, "–"),
    ],
)
def test_a_check_is_of_the_ratio_before(value, at_most, before, mark):
    goal = check.beside({"name": "a ÷ b", "value": value, "at_most": at_most}, before)
    assert goal.mark == mark
