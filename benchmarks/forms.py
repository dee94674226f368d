"""Rows a second of the NCF from every form of the same rows, beside the framework alone.

python benchmarks/forms.py [--frameworks tf2 pytorch] [--rounds N] [--rows N] [--epochs N]

The forms are a DataFrame, a pandas frame, XShards of pandas frames, and a data creator's loader: a
`tf.data` pipeline, or a torch DataLoader that shuffles. The framework alone trains on the very same
loader. Each contestant trains in a process of its own on the same two processors, with one worker;
they take turns. A figure is the median of all epochs but the first.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
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
FIGURE = "rows/s"
LOADER_MUST, FRAME_MUST = 0.95, 0.95


def measure(form: str, framework: str, file: Path, rows: int, epochs: int) -> dict[str, float]:
    """Return the rows a second of one contestant."""
    settings = ["--framework", framework, "--batch", BATCH, "--epochs", epochs]
    found = race("_forms.py", form, file, *settings)
    return {FIGURE: rows / median(found["seconds"][1:])}


def goals(runs: Sequence[Run], frameworks: Sequence[str]) -> list[Goal]:
    """Return the ratios that must hold."""
    found = []
    for framework in frameworks:
        pairs = [("loader", "plain", LOADER_MUST)]
        pairs += [(form, "DataFrame", FRAME_MUST) for form in ("pandas", "XShards")]
        for form, other, must in pairs:
            figures = [values(runs, f"{framework}: {one}", FIGURE) for one in (form, other)]
            value, within = ratio(*figures)
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
            f"{framework}: {form}": partial(
                measure, form, framework, file, options.rows, options.epochs
            )
            for framework in options.frameworks
            for form in FORMS
        }
        runs = take_turns(contestants, options.rounds)
    rates = table(
        ["contestant", "rows/s: median (min–max)"],
        [[name, spread(values(runs, name, FIGURE))] for name in contestants],
    )
    setting = f"{options.rows:,} rows, batches of {BATCH:,}, {options.rounds} rounds, one worker."
    reached = goals(runs, options.frameworks)
    path = write(
        "forms",
        "Rows a second by the form of the rows",
        {"": setting, "Rates": rates},
        runs=runs,
        goals=reached,
    )
    return conclude(path, [rates], reached)


if __name__ == "__main__":
    sys.exit(main())
