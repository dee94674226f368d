"""Rows a second of the dense model from wide rows of every kind, beside numpy arrays in memory.

python benchmarks/wide.py [--frameworks tf2 pytorch] [--rounds N] [--rows N] [--epochs N]

The kinds are an array of 100 floats, 100 columns of float that are stacked, a dense Vector, a
sparse one with 5 values of 100, and 400 bytes that a `batch_transform` turns into the floats. The
framework alone trains on the floats in one numpy array, or tensor. It and Orca train in processes
of their own on the same two processors, with one worker, and take turns. A figure is the median of
all epochs but the first.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _rates import finish, measured, options_of, rates
from _report import Goal, Run, ratio
from _wide import KINDS, save

ALONE = "numpy"
MUST = 0.95


def goals(runs: Sequence[Run], frameworks: Sequence[str]) -> list[Goal]:
    """Return the ratios that must hold."""
    found = []
    for framework in frameworks:
        for kind in KINDS:
            pair = (rates(runs, framework, one, alone=ALONE) for one in (kind, ALONE))
            value, within = ratio(*pair)
            found.append(Goal(f"{framework}: {kind} ÷ {ALONE}", value, MUST, detail=within))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = options_of(__doc__ or "", ["tf2", "pytorch"], 128_000).parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), options.rows)
        runs = measured("_wide.py", list(KINDS), directory, options)
    title = "Rows a second of the dense model by the kind of wide rows"
    reached = goals(runs, options.frameworks)
    return finish("wide", title, runs, [ALONE, *KINDS], options, reached)


if __name__ == "__main__":
    sys.exit(main())
