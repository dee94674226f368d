"""Rows a second of the NCF from every form of the same rows, beside the framework alone.

python benchmarks/forms.py [--frameworks tf2 keras-jax pytorch] [--rounds N] [--rows N] [--epochs N]

The forms are a DataFrame, a pandas frame, XShards of pandas frames, and a data creator's loader: a
`tf.data` pipeline, or a torch DataLoader that shuffles. The framework alone trains on the very same
loader. It and Orca train in processes of their own on the same two processors, with one worker, and
take turns; so do the forms within Orca's. A figure is the median of all epochs but the first; rows
in memory are trained five times as many epochs as a loader's, because one is that much shorter.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median

from _forms import FORMS, LOADERS
from _models import save_rows
from _report import (
    Goal,
    Run,
    conclude,
    race,
    ratio,
    spread,
    table,
    take_turns,
    values,
    write,
)

BATCH = 1280
ALONE = "loader, framework alone"
LOADER_MUST, FRAME_MUST = 0.95, 0.95


class Contestant:
    """One process of a framework's: the framework alone, or Orca with all forms.

    Parameters
    ----------
    kind : str
        "plain" or "orca".
    framework : str
    file : Path
    options : argparse.Namespace
    """

    def __init__(self, kind: str, framework: str, file: Path, options: argparse.Namespace) -> None:
        self._kind, self._rows = kind, options.rows
        self._settings = [file, "--framework", framework, "--batch", BATCH]
        self._settings += ["--epochs", options.epochs]
        self._rounds = count()

    def __call__(self) -> dict[str, float]:
        """Return the rows a second of each form."""
        forms = FORMS[:: -1 if next(self._rounds) % 2 else 1]
        found = race("_forms.py", self._kind, *self._settings, "--forms", *forms)
        rates = {form: self._rows / median(all_[1:]) for form, all_ in found["seconds"].items()}
        return rates if self._kind == "orca" else {ALONE: rates["loader"]}


def rates(runs: Sequence[Run], framework: str, form: str) -> list[float]:
    """Return a form's rows a second in each round."""
    kind = "plain" if form == ALONE else "Orca"
    return values(runs, f"{framework}: {kind}", form)


def goals(runs: Sequence[Run], frameworks: Sequence[str]) -> list[Goal]:
    """Return the ratios that must hold."""
    found = []
    for framework in frameworks:
        pairs = [("loader", ALONE, LOADER_MUST)]
        pairs += [(form, "DataFrame", FRAME_MUST) for form in ("pandas", "XShards")]
        for form, other, must in pairs:
            value, within = ratio(*(rates(runs, framework, one) for one in (form, other)))
            found.append(Goal(f"{framework}: {form} ÷ {other}", value, must, detail=within))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frameworks", nargs="+", choices=list(LOADERS), default=list(LOADERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=4, help="the first does not count")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        name = save_rows(Path(directory), "ncf", options.rows)
        file = Path(directory) / f"{name}.parquet"
        contestants = {
            f"{framework}: {shown}": Contestant(kind, framework, file, options)
            for framework in options.frameworks
            for kind, shown in (("plain", "plain"), ("orca", "Orca"))
        }
        runs = take_turns(contestants, options.rounds)
    shown = table(
        ["rows/s: median (min–max)", *options.frameworks],
        [
            [form, *(spread(rates(runs, framework, form)) for framework in options.frameworks)]
            for form in (ALONE, *FORMS)
        ],
    )
    setting = f"{options.rows:,} rows, batches of {BATCH:,}, {options.rounds} rounds, one worker."
    reached = goals(runs, options.frameworks)
    path = write(
        "forms",
        "Rows a second by the form of the rows",
        {"": setting, "Rates": shown},
        runs=runs,
        goals=reached,
    )
    return conclude(path, [shown], reached)


if __name__ == "__main__":
    sys.exit(main())
