"""From which size of the gradients on DistributedDataParallel's overlap beats one fused sum.

python benchmarks/crossover.py [--rounds N] [--sizes 64k ... 64m] [--steps N]

DistributedDataParallel sends gradients in buckets while the backward pass still computes others;
Orca sends them all at once when it is done, with less work for each message. PyTorch models of four
square layers, from 64 KiB to 64 MiB of parameters, few rows in a step, and SGD, so that exchanging
gradients is most of a step. Both train with two workers of one thread on the same two processors.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _models import dense_rows
from _report import Run, conclude, race, ratio, spread, table, take_turns, values, write
from pyarrow import parquet

#: Width of the layers by the size of their parameters: four layers of width squared floats.
WIDTHS = {"64k": 64, "256k": 128, "1m": 256, "4m": 512, "16m": 1024, "64m": 2048}
ORCA, DDP, PLAIN = "Orca, 2 workers", "DistributedDataParallel, 2 processes", "plain, half a batch"


def measure(contestant: list[Any], files: dict[str, str], directory: str, options: Any) -> Any:
    """Return a contestant's milliseconds a step, by size."""
    batch = options.batch // 2 if contestant[0] == "plain" else options.batch
    fits = [f"{file}:{batch}" for file in files.values()]
    more = ["--framework", "pytorch", "--epochs", options.epochs, "--fits", *fits]
    found = race("_train.py", contestant[0], "wide", directory, *contestant[1:], *more)
    seconds = [median(run["seconds"][1:]) for run in found["runs"]]
    # The plain process has all rows, and so twice the steps.
    steps = options.steps * (options.batch // batch)
    return {size: 1000 * one / steps for size, one in zip(files, seconds, strict=True)}


def crossover(runs: Sequence[Run], sizes: Sequence[str]) -> str:
    """Return in words from which size on Orca's step takes longer."""
    slower = [
        size for size in sizes if median(values(runs, ORCA, size)) > median(values(runs, DDP, size))
    ]
    if not slower:
        return f"Orca's step is the shorter one at every size up to {sizes[-1]}."
    if len(slower) == len(sizes):
        return f"DistributedDataParallel's step is the shorter one from {sizes[0]} on."
    if slower != list(sizes[-len(slower) :]):
        return f"No one size parts them: Orca's step is the longer one at {', '.join(slower)}."
    below = sizes[sizes.index(slower[0]) - 1]
    return f"The crossover lies between {below} and {slower[0]} of gradients."


def steps_table(runs: Sequence[Run], sizes: Sequence[str]) -> str:
    """Return milliseconds a step by size, and their ratio."""
    rows = []
    for size in sizes:
        ours, theirs = values(runs, ORCA, size), values(runs, DDP, size)
        faster, within = ratio(theirs, ours)
        alone = spread(values(runs, PLAIN, size))
        rows.append([size, spread(ours), spread(theirs), alone, f"{faster:.3g} ({within})"])
    return table(["gradients", f"{ORCA}: ms a step", DDP, PLAIN, "DDP's ÷ Orca's"], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--sizes", nargs="+", choices=list(WIDTHS), default=list(WIDTHS))
    add("--batch", type=int, default=64, help="rows of a step over both workers")
    add("--steps", type=int, default=30, help="of an epoch")
    add("--epochs", type=int, default=4, help="of each training; the first does not count")
    add("--without", choices=["orca", "ddp"], nargs="*", default=[], help="leave a contestant out")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    sizes = [size for size in WIDTHS if size in options.sizes]
    contestants: dict[str, list[Any]] = {
        ORCA: ["orca", "--workers", 2],
        DDP: ["ddp"],
        PLAIN: ["plain", "--cpus", 0],
    }
    chosen = {n: c for n, c in contestants.items() if c[0] not in options.without}
    with tempfile.TemporaryDirectory(prefix="orca-crossover-") as directory:
        files = {size: f"wide-{WIDTHS[size]}" for size in sizes}
        for size, file in files.items():
            rows = dense_rows(options.batch * options.steps, 0, WIDTHS[size])
            parquet.write_table(rows, Path(directory) / f"{file}.parquet")
        runs = take_turns(
            {
                name: partial(measure, contestant, files, directory, options)
                for name, contestant in chosen.items()
            },
            options.rounds,
            "ms a step",
        )
    if options.without:
        print("\nA contestant was left out: nothing is compared, or written.")
        return 0
    shown = f"{steps_table(runs, sizes)}\n\n{crossover(runs, sizes)}"
    sections = {"": SETTING.format(options=options), "Steps": shown}
    path = write("crossover", "Gradients by their size", sections, runs=runs)
    return conclude(path, [shown], [])


SETTING = """\
PyTorch, four square layers and an output, SGD; {options.batch} rows of a step over both workers, \
{options.steps} steps an epoch, median of all epochs but the first of {options.epochs}; \
{options.rounds} rounds, in turns. DistributedDataParallel runs under pyspark's `TorchDistributor` \
with gloo. Plain is one process on one processor with one worker's share of a step: what a step \
takes without an exchange."""


if __name__ == "__main__":
    sys.exit(main())
