"""From which size of the gradients on DistributedDataParallel's overlap beats one fused sum.

python benchmarks/crossover.py [--rounds N] [--sizes 64k ... 64m] [--steps N]
                               [--link 10gbit|1gbit]

DistributedDataParallel sends gradients in buckets while the backward pass still computes others.
So does Orca between hosts, from some size on; within a host it sends them all at once when it is
done, with less work for each message. PyTorch models of four square layers, from 64 KiB to 64 MiB
of parameters (16 million of float32), few rows in a step, and SGD, so that exchanging gradients is
most of a step. 256m, 64 million parameters, is run where it is asked for. Both train with two
workers of one thread on the same two processors. With a link, each worker is on a host of its own,
a network namespace, and without Spark.
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
from _network import Network, Ranks, congestion, why_not
from _report import Goal, Run, conclude, race, ratio, spread, table, take_turns, values, write
from pyarrow import parquet

#: Width of the layers by the size of their parameters: four layers of width squared floats.
WIDTHS = {"64k": 64, "256k": 128, "1m": 256, "4m": 512, "16m": 1024, "64m": 2048, "256m": 4096}
USUAL = [size for size in WIDTHS if size != "256m"]
LINKS = {"10gbit": 10.0, "1gbit": 1.0}
ORCA, DDP, PLAIN = "Orca, 2 workers", "DistributedDataParallel, 2 processes", "plain, half a batch"
ROUNDED = 'Orca, gradient_dtype="bfloat16"'


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


def over_link(options: Any, directory: str, files: dict[str, str]) -> list[Run]:
    """Let the contestants train over a link, in turns."""
    chosen = {ORCA: "orca", ROUNDED: "bfloat16", DDP: "ddp"}
    arguments = [directory, options.batch, options.epochs]
    with Network() as network, Ranks(network, arguments, "_crossing.py") as ranks:
        network.limit(LINKS[options.link])

        def train(contestant: str) -> dict[str, float]:
            found = {}
            for size, file in files.items():
                seconds = [median(one[1:]) for one in ranks.train([contestant, file])]
                found[size] = 1000 * max(seconds) / options.steps
            return found

        names = {name: partial(train, one) for name, one in chosen.items()}
        return take_turns(names, options.rounds, "ms a step")


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


def steps_table(runs: Sequence[Run], sizes: Sequence[str], third: str = PLAIN) -> str:
    """Return milliseconds a step by size, and their ratio."""
    rows = []
    for size in sizes:
        ours, theirs = values(runs, ORCA, size), values(runs, DDP, size)
        faster, within = ratio(theirs, ours)
        other = spread(values(runs, third, size))
        rows.append([size, spread(ours), spread(theirs), other, f"{faster:.3g} ({within})"])
    return table(["gradients", f"{ORCA}: ms a step", DDP, third, "DDP's ÷ Orca's"], rows)


def goals(runs: Sequence[Run], sizes: Sequence[str]) -> list[Goal]:
    """Return Orca's step beside DistributedDataParallel's, by size."""
    found = []
    for size in sizes:
        value, within = ratio(values(runs, ORCA, size), values(runs, DDP, size))
        name = f"{size}: Orca's step ÷ DistributedDataParallel's"
        found.append(Goal(name, value, 0.95, at_most=True, detail=within))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--sizes", nargs="+", choices=list(WIDTHS), default=USUAL)
    add("--batch", type=int, default=64, help="rows of a step over both workers")
    add("--steps", type=int, default=30, help="of an epoch")
    add("--epochs", type=int, default=4, help="of each training; the first does not count")
    add("--link", choices=list(LINKS), help="between two hosts; else both are on one")
    add("--without", choices=["orca", "ddp"], nargs="*", default=[], help="leave a contestant out")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    if options.link and (reason := why_not()):
        raise SystemExit(f"--link: {reason}")
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
        if options.link:
            runs = over_link(options, directory, files)
        else:
            trainings = {
                name: partial(measure, contestant, files, directory, options)
                for name, contestant in chosen.items()
            }
            runs = take_turns(trainings, options.rounds, "ms a step")
    if options.without:
        print("\nA contestant was left out: nothing is compared, or written.")
        return 0
    third = ROUNDED if options.link else PLAIN
    shown = f"{steps_table(runs, sizes, third)}\n\n{crossover(runs, sizes)}"
    setting = SETTING.format(options=options)
    setting += f"{OVER_LINK} {congestion()}" if options.link else HERE
    name = f"crossover-{options.link}" if options.link else "crossover"
    sections = {"": setting, "Steps": shown}
    reached = goals(runs, sizes)
    path = write(name, "Gradients by their size", sections, runs=runs, goals=reached)
    return conclude(path, [shown], reached)


SETTING = """\
PyTorch, four square layers and an output, SGD; {options.batch} rows of a step over both workers, \
{options.steps} steps an epoch, median of all epochs but the first of {options.epochs}; \
{options.rounds} rounds, in turns. DistributedDataParallel has gloo. """
HERE = """\
It runs under pyspark's `TorchDistributor`. Plain is one process on one processor with one \
worker's share of a step: what a step takes without an exchange."""
OVER_LINK = """\
Each process is in a network namespace and on a processor of its own, without Spark, connected by \
a virtual switch; `tc` limits what each may send. The slower process counts."""


if __name__ == "__main__":
    sys.exit(main())
