"""How the time of a `fit` grows with its rows: the exponent of a power law.

python benchmarks/growth.py [--rounds N] [--rows N ...]

One epoch of a small model, two workers, large batches, everything in one session whose first `fit`
does not count. The exponent is the slope of a straight line through the medians, by least squares,
both axes logarithmic. Nothing is subtracted: a `fit`'s constant part makes the exponent smaller,
so the exponents between one size and the next are shown too.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from statistics import median

import numpy as np
from _report import Goal, Run, brief, conclude, race, spread, table, values, write


def exponent(rows: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds over log rows, by least squares."""
    slope, _ = np.polyfit(np.log(rows), np.log(seconds), 1)
    return float(slope)


def steps_between(rows: Sequence[float], seconds: Sequence[float]) -> list[float]:
    """Return the exponent from each size to the next."""
    return [
        math.log(seconds[i + 1] / seconds[i]) / math.log(rows[i + 1] / rows[i])
        for i in range(len(rows) - 1)
    ]


def times_table(sizes: Sequence[int], times: Sequence[Sequence[float]]) -> str:
    """Return the seconds of each size, rows a second, and the exponents on the way."""
    middles = [median(one) for one in times]
    between = ["", *(f"{value:.3f}" for value in steps_between(sizes, middles))]
    rows = [
        [f"{size:,}", spread(one), brief(size / middle), step]
        for size, one, middle, step in zip(sizes, times, middles, between, strict=True)
    ]
    return table(["rows", "seconds: median (min–max)", "rows/s", "exponent from the last"], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    sizes = [1_000_000, 3_000_000, 10_000_000, 30_000_000]
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=sizes, metavar="N")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=65_536)
    options = parser.parse_args(arguments)
    if len(options.rows) < 2:
        parser.error("an exponent needs two sizes or more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    sizes = sorted(options.rows)
    found = race(
        *("_growth.py", "--rows", *sizes, "--rounds", options.rounds),
        *("--workers", options.workers, "--batch", options.batch),
        timeout=3600,
    )["runs"]
    runs = [Run(run["round"], f"{run['rows']:,} rows", {"s": run["seconds"]}) for run in found]
    times = [values(runs, f"{size:,} rows", "s") for size in sizes]
    slope = exponent(sizes, [median(one) for one in times])
    by_round = [exponent(sizes, one) for one in zip(*times, strict=True)]
    within = f"{min(by_round):.3g}–{max(by_round):.3g}"
    reached = [Goal("exponent of time over rows", slope, 1.05, at_most=True, detail=within)]
    shown = times_table(sizes, times)
    setting = (
        f"One epoch, {options.workers} workers, batch {options.batch:,}, three floats and a label "
        f"that Spark makes up, {options.rounds} rounds in one session. Nothing is subtracted."
    )
    data = {"rows": sizes, "seconds": times}
    sections = {"": setting, "Times": shown}
    path = write("growth", "Time of a fit over rows", sections, runs=runs, goals=reached, data=data)
    return conclude(path, [shown], reached)


if __name__ == "__main__":
    sys.exit(main())
