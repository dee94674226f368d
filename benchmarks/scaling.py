"""Two workers of one thread against one: how much of the second processor is training.

python benchmarks/scaling.py [--framework tf2|keras-jax|...|pytorch] [--rounds N]
                             [--models ncf dense] [--scale X] [--no-network]

Two workers have twice the rows and twice the batch, so each has the same rows in each step as the
one worker. Each worker is kept to a processor of its own. Beside it, what the machine itself makes
of two processors: two plain trainings at the same time that have nothing to do with each other,
against one alone. Then workers in network namespaces of their own, with links of 10 and 1 Gbit/s.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from _models import save_rows
from _network import Network, Ranks, why_not
from _report import (
    Goal,
    Run,
    brief,
    conclude,
    race,
    race_together,
    ratio,
    result_name,
    spread,
    table,
    take_turns,
    values,
    write,
)

#: Steps of an epoch.
STEPS = {"ncf": 200, "dense": 40}
GOALS = {"ncf": (0.80, 0.90), "dense": (0.90, 0.97)}
FRAMEWORKS = ("tf2", "keras-jax", "keras-tensorflow", "keras-torch", "pytorch")
ONE, TWO = "1 worker", "2 workers"
ALONE, TOGETHER = "plain, alone", "plain, two at once"
LINKS: dict[str, float | None] = {"no limit": None, "10 Gbit/s": 10.0, "1 Gbit/s": 1.0}


def rate(seconds: Sequence[float], rows: int) -> float:
    """Return rows a second, of all epochs but the first."""
    return rows / median(seconds[1:])


class Contest:
    """The contestants for one model."""

    def __init__(self, model: str, options: argparse.Namespace, directory: Path) -> None:
        self.model, self.options, self.directory = model, options, directory
        self.batch = options.batch
        self.rows = self.batch * max(4, int(STEPS[model] * options.scale))
        self.epochs = ["--epochs", options.epochs, "--framework", options.framework]

    def contestants(self) -> Iterator[tuple[str, Any]]:
        """Yield each with its name."""
        yield ONE, partial(self.orca, 1)
        yield TWO, partial(self.orca, 2)
        yield ALONE, partial(self.plain, 1)
        yield TOGETHER, partial(self.plain, 2)

    def file(self, workers: int) -> str:
        """Return the name of the file with the rows for so many workers."""
        return save_rows(self.directory, self.model, self.rows * workers)

    def orca(self, workers: int) -> dict[str, float]:
        """Train with Orca, on as many processors as workers."""
        fit = f"{self.file(workers)}:{self.batch * workers}"
        arguments = [*self.epochs, "--fits", fit, "--workers", workers]
        # One worker has a processor to itself and cannot leave it, so nor may two.
        arguments += ["--cpus", *range(workers), "--bind"]
        (run,) = race("_train.py", "orca", self.model, self.directory, *arguments)["runs"]
        return {self.model: rate(run["seconds"], self.rows * workers)}

    def plain(self, processes: int) -> dict[str, float]:
        """Train with the framework alone, in processes timed together; the slower's."""
        arguments = [*self.epochs, "--fits", f"{self.file(1)}:{self.batch}"]
        arguments += ["--together", processes]
        with tempfile.TemporaryDirectory() as place:
            found = race_together(
                *(
                    ["_train.py", "plain", self.model, self.directory, *arguments]
                    + ["--cpus", cpu, "--meet", place]
                    for cpu in range(processes)
                )
            )
        return {self.model: min(rate(one["runs"][0]["seconds"], self.rows) for one in found)}

    def over_links(self, network: Network) -> list[Run]:
        """Train in the namespaces, with each link in turn."""
        arguments = [self.model, self.directory / f"{self.file(2)}.parquet", 2 * self.batch]

        def train(ranks: Ranks, gigabits: float | None) -> dict[str, float]:
            network.limit(gigabits)
            return self.seen(ranks.train())

        with Ranks(network, [*arguments, self.options.epochs]) as ranks:
            names = {f"{self.model}, {link}": partial(train, ranks, g) for link, g in LINKS.items()}
            return take_turns(names, self.options.rounds)

    def seen(self, found: list[dict[str, Any]]) -> dict[str, float]:
        """Return a step's time, of the slower rank, and its bytes, the mean of both ranks'."""
        steps = self.rows // self.batch
        return {
            "ms a step": 1000 * max(median(one["seconds"][1:]) for one in found) / steps,
            "on the wire": sum(median(one["card"][1:]) for one in found) / steps / len(found),
            "payload": _a_step(found, "sent"),
            "least": _a_step(found, "least"),
        }


def _a_step(found: list[dict[str, Any]], what: str) -> float:
    return sum(one["counts"][what] / one["counts"]["calls"] for one in found) / len(found)


def goals(runs: Sequence[Run], models: Sequence[str]) -> tuple[list[Goal], str]:
    """Return the efficiencies, and a table that has the machine's own beside them."""
    found, rows = [], []
    for model in models:
        two, one = values(runs, TWO, model), values(runs, ONE, model)
        efficiency, within = ratio([value / 2 for value in two], one)
        together, alone = values(runs, TOGETHER, model), values(runs, ALONE, model)
        ceiling, ceiling_within = ratio(together, alone)
        must, reach = GOALS[model]
        found.append(
            Goal(f"{model}: rate of 2 ÷ 2 × rate of 1", efficiency, must, reach, detail=within)
        )
        shown = [spread(values(runs, name, model)) for name in (ONE, TWO, ALONE, TOGETHER)]
        ours, theirs = f"{efficiency:.3g} ({within})", f"{ceiling:.3g} ({ceiling_within})"
        rows.append([model, *shown, ours, theirs, f"{efficiency / ceiling:.3g}"])
    names = ["rows/s", ONE, TWO, ALONE, f"{TOGETHER}, the slower", "efficiency"]
    names += ["the machine's own", "efficiency ÷ that"]
    return found, table(names, rows)


def links_table(runs: Sequence[Run], local: dict[str, float]) -> str:
    """Return steps over each link beside a worker's own, and bytes beside the least."""
    rows = []
    for name in dict.fromkeys(run.contestant for run in sorted(runs, key=lambda run: run.round)):
        model, _, link = name.partition(", ")
        wire, sent, least = (
            median(values(runs, name, figure)) for figure in ("on the wire", "payload", "least")
        )
        gigabits = LINKS[link]
        on_link = "–" if gigabits is None else f"{least * 8e-6 / gigabits:.3g}"
        steps = spread(values(runs, name, "ms a step"))
        row = [model, link, steps, brief(local[model]), on_link]
        rows.append([*row, brief(wire), brief(sent), brief(least), f"{wire / least:.2f}"])
    names = ["model", "link", "ms a step", "1 worker's", "ms for the least bytes on the link"]
    names += ["bytes on the wire", "payload", "least", "wire ÷ least"]
    return table(names, rows)


def over_links(contests: dict[str, Contest], options: argparse.Namespace) -> tuple[list[Run], str]:
    """Train in network namespaces; return the runs, or none and why not."""
    reason = "left out by --no-network" if options.no_network else why_not()
    if options.framework != "tf2":
        reason = "the ranks in namespaces of their own run tf2 alone"
    if reason:
        return [], f"Not measured: {reason}."
    try:
        with Network() as network:
            found = [contest.over_links(network) for contest in contests.values()]
            return [run for runs in found for run in runs], ""
    except OSError as error:
        return [], f"Not measured: {error}."


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--framework", choices=FRAMEWORKS, default=FRAMEWORKS[0])
    add("--rounds", type=int, default=2)
    add("--models", nargs="+", choices=list(STEPS), default=list(STEPS))
    add("--batch", type=int, default=1280, help="rows of a worker and step")
    add("--epochs", type=int, default=5, help="of each training; the first does not count")
    add("--scale", type=float, default=1.0, help="times the usual steps of an epoch")
    add("--no-network", action="store_true", help="leave the network namespaces out")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="orca-scaling-") as directory:
        contests = {model: Contest(model, options, Path(directory)) for model in options.models}
        for contest in contests.values():
            runs += take_turns(dict(contest.contestants()), options.rounds, "rows/s")
        linked, over = over_links(contests, options)
    reached, efficiencies = goals(runs, options.models)
    local = {
        model: 1000 * options.batch / median(values(runs, ONE, model)) for model in options.models
    }
    over = over or f"{LINKS_SETTING}\n\n{links_table(linked, local)}"
    sections = {"": SETTING.format(options=options), "Efficiency": efficiencies, "Over links": over}
    title = "Two workers against one"
    path = write(
        result_name("scaling", [options.framework]),
        title,
        sections,
        runs=[*runs, *linked],
        goals=reached,
    )
    return conclude(path, [efficiencies, over], reached)


SETTING = """\
{options.batch} rows for each worker in each step; {options.rounds} rounds, in turns, of \
{options.epochs} epochs, the first of which does not count. One worker, and one plain process, is \
pinned to one processor with all its threads; two have two. The machine's own efficiency is that \
of two plain trainings at the same time, which share nothing but the machine's memory, caches and \
clock."""

LINKS_SETTING = """\
Two workers without Spark, each in a network namespace and on a processor of its own, connected by \
a virtual switch; `tc` limits what each may send. Bytes are those that one worker sends in a step: \
on the wire as its network card counts them, headers and acknowledgements included; payload as \
handed to the collective; least is the dense gradients once and each distinct row that the \
worker's share of the step touched. The virtual switch works on the same processors."""


if __name__ == "__main__":
    sys.exit(main())
