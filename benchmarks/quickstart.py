"""The quick start as a whole program: Orca beside the framework alone after `toPandas()`.

python benchmarks/quickstart.py [--framework tf2|keras-jax|...|pytorch] [--rounds N] [--rows N]

Both programs start a Spark session, read a million generated ratings, of which they train on 80 %,
validate after each of two epochs, save, and evaluate; each in a cold process with the same two
processors, in turns. The page has the time of each phase, the rows a second of the last epoch, and
the memory of all processes together.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _archive import ensure_class_archive
from _models import MODELS
from _report import (
    Goal,
    Run,
    conclude,
    race,
    ratio,
    result_name,
    spread,
    table,
    take_turns,
    values,
    write,
)
from _split import save
from ratings import MOVIELENS_1M, generate, scaled

FRAMEWORKS = ("tf2", "keras-jax", "keras-tensorflow", "keras-torch", "pytorch")
PLAIN, ONE, TWO = "plain", "Orca, 1 worker", "Orca, 2 workers"
#: Orca as the first program of a machine: without the archive of classes that it leaves behind.
FIRST = "Orca, 1 worker, no class archive"
PROGRAMS: dict[str, list[object]] = {
    PLAIN: ["plain"],
    ONE: ["orca", "--workers", 1],
    TWO: ["orca", "--workers", 2],
    FIRST: ["orca", "--workers", 1, "--no-archive"],
}
#: What plain Keras waits for tf.data in `fit`, or not: by chance, so that no total has it.
WAIT = "wait for tf.data"
#: Figures of a run that are no phase of it.
OTHERS = ("rows/s", "peak memory, MB", "val_loss")


def run(program: list[object], directory: str, more: list[object]) -> dict[str, float]:
    """Run one program; return the seconds of its phases, and what else was measured."""
    name, *settings = program
    found: dict[str, Any] = race("_quickstart.py", name, directory, *settings, *more, memory=True)
    others = (found["rows_per_s"], found["peak_memory"] / 1e6, found["val_loss"])
    return found["phases"] | dict(zip(OTHERS, others, strict=True)) | {WAIT: found["wait"]}


def phases_table(runs: Sequence[Run]) -> str:
    """Return the median seconds of each phase, by program, and the total with its spread."""
    phases = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = []
    for phase in [name for name in phases if name not in ("total", WAIT, *OTHERS)]:
        found = [values(runs, name, phase) for name in PROGRAMS]
        rows.append([phase, *(f"{median(one):.2f}" if one else "–" for one in found)])
    rows.append(["**total**", *(spread(values(runs, name, "total")) for name in PROGRAMS)])
    rows.append([f"{WAIT}, beside it", *(spread(values(runs, name, WAIT)) for name in PROGRAMS)])
    return table(["seconds, median", *PROGRAMS], rows)


def others_table(runs: Sequence[Run]) -> str:
    """Return rows a second of the last epoch, memory and loss, by program."""
    rows = [[name, *(spread(values(runs, name, key)) for key in OTHERS)] for name in PROGRAMS]
    return table(["last epoch: median (min–max)", *OTHERS], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", choices=FRAMEWORKS, default=FRAMEWORKS[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="generated ratings, a million by default")
    parser.add_argument("--batch", type=int, default=1280)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.epochs < 2:
        parser.error("what the first epoch costs beyond a later one is seen with two or more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    shape = MOVIELENS_1M if options.rows is None else scaled(options.rows)
    with tempfile.TemporaryDirectory(prefix="orca-quickstart-") as directory:
        rows, _ = save(generate(shape), Path(directory), seed=0)
        files = [Path(directory) / f"{name}.parquet" for name in ("train", "test")]
        config = json.dumps(MODELS["ncf"].config(*files))
        more: list[object] = ["--rows", rows, "--config", config]
        more += ["--batch", options.batch, "--epochs", options.epochs]
        more += ["--framework", options.framework]
        programs = {
            name: partial(run, program, directory, more) for name, program in PROGRAMS.items()
        }
        archive = ensure_class_archive(programs[ONE])
        runs = take_turns(programs, options.rounds, "s")
    totals = {name: values(runs, name, "total") for name in PROGRAMS}
    reached = []
    for name, must, reach in ((ONE, 0.6, None), (TWO, 1.05, 0.85), (FIRST, 0.8, None)):
        value, within = ratio(totals[name], totals[PLAIN])
        reached.append(
            Goal(f"{name} ÷ plain, whole program", value, must, reach, at_most=True, detail=within)
        )
    sections = {
        "": SETTING.format(options=options, rows=rows, archive=archive),
        "Phases": phases_table(runs),
        "Last epoch, memory": others_table(runs),
    }
    name = result_name("quickstart", [options.framework])
    path = write(name, f"The quick start, {options.framework}", sections, runs=runs, goals=reached)
    return conclude(path, list(sections.values())[1:], reached)


SETTING = """\
{rows:,} generated ratings to train on, batch {options.batch} over all workers, {options.epochs} \
epochs; {options.rounds} rounds, in turns, each program in a cold process with two processors. \
Plain is one script: Spark reads, `toPandas()` with Arrow, then `model.fit` on numpy arrays, or in \
PyTorch a loop on tensors.

Orca's session starts from the archive of Spark's classes that Orca's first program on a machine \
leaves behind ({archive}); "no class archive" is that first program, and plain has none either, \
like every program without Orca.

"first step" is what the first epoch took beyond the last one: tracing and warming up. In plain, \
what happens until training begins is to build the model; in Orca the rows go to the workers, the \
workers start and import the framework, all at the same time, and build the model. "after \
training" is Orca's way back, of the state through Spark. No total has the "wait for tf.data" in \
it: Keras's `fit` on TensorFlow may end with one, about as long as the training was at the most, \
because tf.data's autotuner can miss that its pipeline has ended. A program meets it or not, by \
chance; Orca's pipelines have no autotuner. Memory is resident memory of all \
processes of the program at its peak, where pages that they share count for each."""


if __name__ == "__main__":
    sys.exit(main())
