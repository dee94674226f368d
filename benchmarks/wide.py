"""Rows a second of the dense model from wide rows of every kind, beside numpy arrays in memory.

python benchmarks/wide.py [--frameworks tf2 pytorch] [--rounds N] [--rows N] [--epochs N]

The kinds are an array of 100 floats, 100 columns of float that are stacked, a dense Vector, a
sparse one with 5 values of 100, and 400 bytes that a `batch_transform` turns into the floats. The
framework alone trains on the floats in one numpy array, or tensor. It and Orca train in processes
of their own on the same two processors, with one worker, and take turns. A figure is the median of
all epochs but the first.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from _report import Goal, Run, conclude, race, ratio, spread, table, take_turns, values, write
from _wide import KINDS, save

BATCH = 1280
MUST = 0.95


class Contestant:
    """One process of a framework's: the framework alone, or Orca with all kinds."""

    def __init__(
        self, kind: str, framework: str, directory: str, options: argparse.Namespace
    ) -> None:
        self._kind, self._rows = kind, options.rows
        self._settings = [directory, "--framework", framework, "--batch", BATCH]
        self._settings += ["--epochs", options.epochs]
        self._rounds = count()

    def __call__(self) -> dict[str, float]:
        """Return the rows a second of each kind."""
        kinds = list(KINDS)[:: -1 if next(self._rounds) % 2 else 1]
        found = race("_wide.py", self._kind, *self._settings, "--kinds", *kinds)
        return {kind: self._rows / median(all_[1:]) for kind, all_ in found["seconds"].items()}


def rates(runs: Sequence[Run], framework: str, kind: str) -> list[float]:
    """Return a kind's rows a second in each round."""
    return values(runs, f"{framework}: {'plain' if kind == 'numpy' else 'Orca'}", kind)


def goals(runs: Sequence[Run], frameworks: Sequence[str]) -> list[Goal]:
    """Return the ratios that must hold."""
    found = []
    for framework in frameworks:
        for kind in KINDS:
            value, within = ratio(*(rates(runs, framework, one) for one in (kind, "numpy")))
            found.append(Goal(f"{framework}: {kind} ÷ numpy", value, MUST, detail=within))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    frameworks = ["tf2", "pytorch"]
    parser.add_argument("--frameworks", nargs="+", choices=frameworks, default=frameworks)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=128_000)
    parser.add_argument("--epochs", type=int, default=4, help="the first does not count")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), options.rows)
        contestants = {
            f"{framework}: {shown}": Contestant(kind, framework, directory, options)
            for framework in options.frameworks
            for kind, shown in (("plain", "plain"), ("orca", "Orca"))
        }
        runs = take_turns(contestants, options.rounds)
    shown = table(
        ["rows/s: median (min–max)", *options.frameworks],
        [
            [kind, *(spread(rates(runs, framework, kind)) for framework in options.frameworks)]
            for kind in ("numpy", *KINDS)
        ],
    )
    setting = f"{options.rows:,} rows, batches of {BATCH:,}, {options.rounds} rounds, one worker."
    reached = goals(runs, options.frameworks)
    path = write(
        "wide",
        "Rows a second of the dense model by the kind of wide rows",
        {"": setting, "Rates": shown},
        runs=runs,
        goals=reached,
    )
    return conclude(path, [shown], reached)


if __name__ == "__main__":
    sys.exit(main())
