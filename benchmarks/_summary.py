"""What all benchmarks came to: their goals in one table, and which of them were missed.

python benchmarks/_summary.py [NAME ...]

NAMEs are benchmarks that ended with an error code: either a goal was missed, or they broke.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _report import RESULTS, table

Goals = dict[str, list[dict[str, Any]]]


def read_goals(results: Path) -> Goals:
    """Return the goals of each page of results that has any."""
    found = {}
    for file in sorted(results.glob("*.json")):
        if file.stem == "check":  # these ratios again, in short forms
            continue
        goals = json.loads(file.read_text()).get("goals", [])
        if goals:
            found[file.stem] = goals
    return found


def goals_table(found: Goals) -> str:
    """Return all goals with their marks."""
    rows = []
    for name, goals in found.items():
        for goal in goals:
            sign = "≤" if goal["at_most"] else "≥"
            reach = "" if goal["reach"] is None else f"{sign} {goal['reach']:g}"
            must = "" if goal["must"] is None else f"{sign} {goal['must']:g}"
            rows.append([name, goal["name"], f"{goal['value']:.3g}", must, reach, goal["mark"]])
    return table(["benchmark", "figure", "measured", "must", "reach", "mark"], rows)


def verdict(found: Goals, failed: Sequence[str]) -> tuple[str, bool]:
    """Return the last lines, and whether all is well."""
    missed = [
        f"{name}: {goal['name']}"
        for name, goals in found.items()
        for goal in goals
        if goal["mark"] == "MISSED"
    ]
    # A benchmark that missed a goal ends with an error code too, and has said which goal.
    broken = [name for name in failed if not any(one.startswith(f"{name}: ") for one in missed)]
    lines = [f"missed: {one}" for one in missed] + [f"broke: {name}" for name in broken]
    return "\n".join(lines) or "every must is met", not lines


def main(failed: Sequence[str]) -> int:
    """Print the summary; return the exit code."""
    found = read_goals(RESULTS)
    text, good = verdict(found, failed)
    print(goals_table(found), text, sep="\n\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
