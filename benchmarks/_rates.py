"""Rows a second of one model from kinds of rows: a framework alone beside Orca, in turns."""

import argparse
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from _report import Goal, Run, conclude, race, spread, table, take_turns, values, write

BATCH = 1280
_SIDES = {"plain": "plain", "orca": "Orca"}


class Contestant:
    """One process of a framework's: the framework alone, or Orca with all kinds.

    Parameters
    ----------
    program : str
        It takes "plain" or "orca", `data`, the settings and the kinds.
    side : str
        "plain" or "orca".
    framework : str
    kinds : sequence of str
    data : Path or str
    options : argparse.Namespace
    """

    def __init__(
        self,
        program: str,
        side: str,
        framework: str,
        kinds: Sequence[str],
        data: Path | str,
        options: argparse.Namespace,
    ) -> None:
        self._program, self._side, self._rows = program, side, options.rows
        self._kinds = list(kinds)
        self._settings = [data, "--framework", framework, "--batch", BATCH]
        self._settings += ["--epochs", options.epochs]
        self._rounds = count()

    def __call__(self) -> dict[str, float]:
        """Return the rows a second of each kind."""
        kinds = self._kinds[:: -1 if next(self._rounds) % 2 else 1]
        found = race(self._program, self._side, *self._settings, "--kinds", *kinds)
        return {kind: self._rows / median(all_[1:]) for kind, all_ in found["seconds"].items()}


def options_of(about: str, frameworks: Sequence[str], rows: int) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--frameworks", nargs="+", choices=frameworks, default=frameworks)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--epochs", type=int, default=4, help="the first does not count")
    return parser


def measured(
    program: str, kinds: Sequence[str], data: Path | str, options: argparse.Namespace
) -> list[Run]:
    """Return the runs of all frameworks, alone and with Orca."""
    contestants = {
        f"{framework}: {shown}": Contestant(program, side, framework, kinds, data, options)
        for framework in options.frameworks
        for side, shown in _SIDES.items()
    }
    return take_turns(contestants, options.rounds)


def rates(runs: Sequence[Run], framework: str, kind: str, *, alone: str) -> list[float]:
    """Return a kind's rows a second in each round; `alone` is that of the framework alone."""
    return values(runs, f"{framework}: {_SIDES['plain' if kind == alone else 'orca']}", kind)


def finish(
    name: str,
    title: str,
    runs: Sequence[Run],
    kinds: Sequence[str],
    options: argparse.Namespace,
    reached: Sequence[Goal],
) -> int:
    """Write the page of all rates, the framework's alone first; return the exit code."""
    alone = kinds[0]
    shown = table(
        ["rows/s: median (min–max)", *options.frameworks],
        [
            [kind, *(spread(rates(runs, one, kind, alone=alone)) for one in options.frameworks)]
            for kind in kinds
        ],
    )
    setting = f"{options.rows:,} rows, batches of {BATCH:,}, {options.rounds} rounds, one worker."
    sections = {"": setting, "Rates": shown}
    path = write(name, title, sections, runs=runs, goals=reached)
    return conclude(path, [shown], reached)
