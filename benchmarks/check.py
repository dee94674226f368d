"""The ratios that matter, measured in some minutes, beside those of the last release.

python benchmarks/check.py [--keep]

Each benchmark runs in a short form. So a ratio is compared with what the same short form came to
before, which results/check.json has and `--keep` writes anew. Fails when a ratio is worse than that
by more than a quarter; then the benchmark in full says whether it is so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _report import HERE, RESULTS, RESULTS_VARIABLE, Goal, conclude, table, write

#: Two runs of one short form differ by up to a fifth.
WORSE = 1.25


@dataclass(frozen=True)
class Part:
    """A benchmark in a short form, and which of its ratios matter."""

    script: str
    arguments: tuple[object, ...]
    result: str
    goals: tuple[str, ...]


PARTS = (
    Part(
        "epochs.py",
        ("--models", "ncf", "--batches", 1280, "--rounds", 1, "--epochs", 3, "--strategy-steps", 0),
        "epochs",
        ("NCF 1280: Orca 1 worker ÷ plain", "NCF 1280: Orca 2 workers of 1 thread ÷ plain"),
    ),
    Part(
        "epochs.py",
        ("--frameworks", "pytorch", "--models", "ncf", "--batches", 1280, "--rounds", 1)
        + ("--epochs", 3),
        "epochs-pytorch",
        (
            "pytorch, NCF 1280: Orca 1 worker ÷ plain",
            "pytorch, ncf 1280: Orca 2 workers ÷ DistributedDataParallel, 2 processes",
        ),
    ),
    Part(
        "ingest.py",
        ("--kinds", "ints", "--rows", 10_000_000, "--rounds", 2),
        "ingest",
        (
            "10,000,000 x 3 ints: exchanged ÷ bare",
            "10,000,000 x 3 ints: as it is ÷ toArrow()",
            "10,000,000 x 3 ints: from pandas ÷ toArrow()",
        ),
    ),
    Part(
        "predict.py",
        ("--rows", 1_000_000, "--rounds", 1, "--only", "plain", "orca", "predict_udf"),
        "predict",
        ("1,000,000 rows: Orca ÷ plain", "1,000,000 rows: predict_udf ÷ Orca predict"),
    ),
    Part("padded.py", ("--rounds", 3), "padded", ("padded ÷ fixed",)),
)


def measured(part: Part) -> dict[str, dict[str, Any]]:
    """Run a benchmark; return its goals by name."""
    with tempfile.TemporaryDirectory(prefix="orca-check-") as directory:
        ended = subprocess.run(
            [sys.executable, str(HERE / part.script), *map(str, part.arguments)],
            env=os.environ | {RESULTS_VARIABLE: directory},
            capture_output=True,
            text=True,
            timeout=900,
        )
        file = Path(directory) / f"{part.result}.json"
        if not file.exists():
            raise SystemExit(f"{part.script} failed:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}")
        return {goal["name"]: goal for goal in json.loads(file.read_text())["goals"]}


def committed() -> dict[str, float]:
    """Return the ratios of the last time that they were kept."""
    file = RESULTS / "check.json"
    if not file.exists():
        return {}
    return {goal["name"]: goal["value"] for goal in json.loads(file.read_text())["goals"]}


def beside(found: dict[str, Any], before: float | None) -> Goal:
    """Return a ratio with the one before as its bar."""
    value, at_most = found["value"], found["at_most"]
    if before is None:
        return Goal(found["name"], value, at_most=at_most)
    bar = before * WORSE if at_most else before / WORSE
    return Goal(found["name"], value, bar, at_most=at_most, detail=f"{before:.3g} before")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", action="store_true", help="write results/check.json anew")
    options = parser.parse_args(arguments)
    before = {} if options.keep else committed()
    goals, lines = [], []
    for part in PARTS:
        began = time.perf_counter()
        found = measured(part)
        passed = time.perf_counter() - began
        for name in part.goals:
            goal = beside(found[name], before.get(name))
            goals.append(goal)
            print(f"{name}: {goal.value:.3g} {goal.detail} {goal.mark}", flush=True)
        lines.append([" ".join(map(str, (part.script, *part.arguments))), f"{passed:.0f}"])
    shown = table(["short form", "s"], lines)
    if not options.keep:
        print(f"\n{shown}")
        for goal in goals:
            if goal.mark == "MISSED":
                print(f"worse than before: {goal.name}: {goal.value:.3g}, {goal.detail}")
        return int(any(goal.mark == "MISSED" for goal in goals))
    path = write("check", "The ratios that matter, in short forms", {"": shown}, goals=goals)
    return conclude(path, [shown], goals)


if __name__ == "__main__":
    sys.exit(main())
