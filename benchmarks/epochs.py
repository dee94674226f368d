"""Rows a second of a later epoch: Orca beside the framework alone and its own ways to distribute.

python benchmarks/epochs.py [--frameworks tf2 keras-jax pytorch ...] [--rounds N]
                            [--models ncf dense embedding] [--scale X]

Every contestant trains several epochs in a cold process with the same two processors; a figure is
the median of all but the first, which traces the model. The contestants take turns. Of the large
embedding, the bytes that two workers send are counted beside the rows that they touch.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _bytes import BYTES_OF_RUN
from _models import save_rows
from _report import (
    Goal,
    Run,
    brief,
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

#: Rows of an epoch by batch size: enough steps for a steady rate, and no more.
ROWS = {
    "ncf": {256: 100_000, 1280: 400_000, 8192: 800_000},
    "dense": {256: 25_600, 1280: 51_200, 8192: 65_536},
    "embedding": {256: 50_000, 1280: 100_000, 8192: 200_000},
}
ORCA: dict[str, list[object]] = {
    "Orca, 1 worker": ["orca", "--workers", 1],
    "Orca, 2 workers": ["orca", "--workers", 2],
}
DDP = "DistributedDataParallel, 2 processes"
PLAIN: dict[str, list[object]] = {"plain": ["plain"]}
KERAS_CONTESTANTS: dict[str, list[object]] = {
    **PLAIN,
    "plain, 16 steps a call": ["plain", "--steps-per-execution", 16],
    **ORCA,
}
#: Of frameworks that have others than Keras on TensorFlow and JAX.
CONTESTANTS: dict[str, dict[str, list[object]]] = {
    "pytorch": {**PLAIN, DDP: ["ddp"], **ORCA},
    # Keras refuses `steps_per_execution` there.
    "keras-torch": {**PLAIN, **ORCA},
}
STRATEGY = "MultiWorkerMirroredStrategy, 2 processes"
STRATEGY_MODEL, STRATEGY_BATCH = "ncf", 1280

Contestant = Callable[[], dict[str, float]]


def rates(found: dict[str, Any]) -> dict[str, float]:
    """Return each training's rows a second, by the name of its file and batch."""
    rates = {}
    for run in found["runs"]:
        file, batch = run["fit"].rsplit(":", 1)
        rows = run.get("rows") or int(file.rpartition("-")[2])
        rates[f"{file.partition('-')[0]} {batch}"] = rows / median(run["seconds"][1:])
    return rates


def contest(contestant: list[object], model: str, directory: str, more: list[object]) -> Any:
    """Run one contestant in a process of its own."""
    name, *settings = contestant
    return race("_train.py", name, model, directory, *settings, *more)


def measure(
    contestant: list[object], fits: dict[str, list[str]], directory: str, more: list[object]
) -> dict[str, float]:
    """Return a contestant's rates for all its models."""
    figures = {}
    for model, names in fits.items():
        found = contest(contestant, model, directory, [*more, "--fits", *names])
        figures |= rates(found)
    return figures


def contestants(options: argparse.Namespace, directory: str) -> Iterator[tuple[str, Contestant]]:
    """Yield all that take part, each as a function that runs it once."""
    fits = {model: fits_of(model, options, directory) for model in options.models}
    more: list[object] = ["--epochs", options.epochs]
    for framework in options.frameworks:
        for name, contestant in CONTESTANTS.get(framework, KERAS_CONTESTANTS).items():
            settings = [*more, "--framework", framework]
            yield f"{framework}: {name}", partial(measure, contestant, fits, directory, settings)
    has_strategy = "tf2" in options.frameworks and options.strategy_steps > 0
    if has_strategy and STRATEGY_MODEL in fits and STRATEGY_BATCH in options.batches:
        only = [name for name in fits[STRATEGY_MODEL] if name.endswith(f":{STRATEGY_BATCH}")]
        more += ["--steps", options.strategy_steps]
        yield STRATEGY, partial(measure, ["mirrored"], {STRATEGY_MODEL: only}, directory, more)


def fits_of(model: str, options: argparse.Namespace, directory: str) -> list[str]:
    """Write the rows of each batch size; return what is to be trained, as FILE:BATCH."""
    sizes = {
        batch: max(4 * batch, int(ROWS[model][batch] * options.scale)) for batch in ROWS[model]
    }
    names = {batch: save_rows(Path(directory), model, rows) for batch, rows in sizes.items()}
    return [f"{names[batch]}:{batch}" for batch in options.batches]


def count_bytes(options: argparse.Namespace, directory: str) -> list[dict[str, Any]]:
    """Return what two workers send a step for the large embedding, for each batch and spread."""
    found = []
    for power, ids in ((1.0, "uniform"), (3.0, "skewed")):
        names = [
            f"{save_rows(Path(directory), 'embedding', 16 * batch, power)}:{batch}"
            for batch in options.batches
        ]
        more = ["--epochs", 1, "--count-bytes", "--fits", *names]
        runs = contest(["orca", "--workers", 2], "embedding", directory, more)["runs"]
        for run, batch in zip(runs, options.batches, strict=True):
            totals = {key: sum(worker[key] for worker in run["bytes"]) for key in BYTES_OF_RUN}
            found.append({"ids": ids, "batch": batch, **totals})
    return found


def bytes_table(counted: Sequence[dict[str, Any]]) -> str:
    """Return the bytes a step beside those of the rows touched."""
    rows = [
        [
            one["ids"],
            one["batch"],
            brief(one["sent"] / one["calls"]),
            brief(one["rows"] / one["calls"]),
            f"{one['sent'] / one['rows']:.3f}",
        ]
        for one in counted
    ]
    names = ["ids", "batch", "sent by a worker a step", "rows it touched", "sent ÷ touched"]
    return table(names, rows)


#: Of two workers with a thread each beside the framework alone with two: what must be, and what is
#: reached for. XLA takes threads of its own beside the one that it is allowed.
TWO_WORKERS = {
    "tf2": (1.0, 1.3),
    "keras-jax": (0.8, 0.9),
    "keras-tensorflow": (0.5, 0.9),
    "keras-torch": (0.5, 0.9),
    "pytorch": (0.9, 1.2),
}

Wanted = tuple[str, str, str, str, float, float | None]


def wanted(runs: Sequence[Run]) -> Iterator[Wanted]:
    """Yield each ratio: its name, the contestants, the figure, what must be and is reached for."""
    for framework in dict.fromkeys(run.contestant.partition(":")[0] for run in runs):
        if framework not in TWO_WORKERS:
            continue
        # The first framework's goals keep their names.
        prefix = "" if framework == "tf2" else f"{framework}, "
        plain, one, two = (f"{framework}: {name}" for name in ("plain", *ORCA))
        for batch in (256, 1280):
            name = f"{prefix}NCF {batch}: Orca 1 worker ÷ plain"
            yield name, one, plain, f"ncf {batch}", 1.0, 1.2
        name = f"{prefix}NCF 1280: Orca 2 workers of 1 thread ÷ plain"
        yield name, two, plain, "ncf 1280", *TWO_WORKERS[framework]
        for figure in ("ncf 1280", "dense 1280") if framework == "pytorch" else ():
            name = f"pytorch, {figure}: Orca 2 workers ÷ {DDP}"
            yield name, two, f"pytorch: {DDP}", figure, 1.2, None
    two = "tf2: Orca, 2 workers"
    yield "NCF 1280: Orca 2 workers ÷ the strategy", two, STRATEGY, "ncf 1280", 7.0, 12.0


def goals(runs: Sequence[Run], counted: Sequence[dict[str, Any]]) -> list[Goal]:
    """Return the ratios that must hold, as far as they were measured."""
    found = []
    for name, above, below, figure, must, reach in wanted(runs):
        figures = values(runs, above, figure), values(runs, below, figure)
        if all(figures):
            value, within = ratio(*figures)
            found.append(Goal(name, value, must, reach, detail=within))
    for one_count in counted:
        if one_count["ids"] == "uniform":
            name = f"embedding {one_count['batch']}: bytes sent ÷ bytes of the rows touched"
            value = one_count["sent"] / one_count["rows"]
            found.append(Goal(name, value, 2.2, at_most=True))
    return found


def rates_table(runs: Sequence[Run]) -> str:
    """Return rows a second by model, batch and contestant."""
    names = list(dict.fromkeys(run.contestant for run in runs if run.round == 1))
    figures = list(dict.fromkeys(figure for run in runs for figure in run.figures))
    rows = [[name, *(spread(values(runs, name, figure)) for figure in figures)] for name in names]
    return table(["rows/s: median (min–max)", *figures], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rounds", type=int, default=2)
    add("--models", nargs="+", choices=list(ROWS), default=list(ROWS))
    add("--frameworks", nargs="+", choices=list(TWO_WORKERS), default=["tf2"])
    add("--batches", nargs="+", type=int, choices=[256, 1280, 8192], default=[256, 1280, 8192])
    add("--epochs", type=int, default=4, help="of each training; the first does not count")
    add("--scale", type=float, default=1.0, help="times the usual rows")
    add("--strategy-steps", type=int, default=120, help="of its epoch; 0: without it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="orca-epochs-") as directory:
        runs = take_turns(dict(contestants(options, directory)), options.rounds, "rows/s")
        counts = "embedding" in options.models and "tf2" in options.frameworks
        counted = count_bytes(options, directory) if counts else []
    shown, reached = rates_table(runs), goals(runs, counted)
    sections = {"": SETTING.format(options=options), "Rates": shown}
    if counted:
        sections["Bytes sent"] = f"{BYTES_SETTING}\n\n{bytes_table(counted)}"
    title = "Rows a second of a later epoch"
    path = write(
        result_name("epochs", options.frameworks),
        title,
        sections,
        runs=runs,
        goals=reached,
        data={"bytes": counted},
    )
    return conclude(path, list(sections.values())[1:], reached)


SETTING = """\
Median of all epochs but the first, of {options.epochs}; {options.rounds} rounds, in turns. Each \
contestant in a cold process with two processors: plain Keras with two threads on numpy arrays, or \
a loop in PyTorch on tensors; Orca's `fit` on a DataFrame in `local[2]` with 1 worker of 2 threads \
or 2 workers of 1 thread, which on JAX keep to a processor each by default. The batch is that of a \
step over all workers. "16 steps a call" is plain \
Keras with `steps_per_execution=16`, which a user may set if no callback needs each batch. \
TensorFlow's strategy has its epoch cut to {options.strategy_steps} steps, because it is slow. \
DistributedDataParallel runs in two processes of one thread under pyspark's `TorchDistributor` \
(local mode, gloo), each of which reads its share of the file.

Models: `ncf` is the example's, Adam; `dense` 100 floats -> 512 -> 512 -> 1, Adam; `embedding` \
four ids a row -> a table of 1,000,000 x 64 -> mean -> 1, with Adagrad: Adam's update of a table, \
and in tf_keras SGD's too, goes over all its rows in every step, in plain Keras as well."""

BYTES_SETTING = """\
What the gradients hand to the collective, payload alone: an all-gather counts what a worker \
contributes for each other worker, an all-reduce of n bytes among p workers 2 n (p - 1) / p. Rows \
touched are the distinct ones of the worker's share of a step, 256 bytes each. Skewed: of a \
million ids, the first thousand make a tenth of the occurrences."""


if __name__ == "__main__":
    sys.exit(main())
