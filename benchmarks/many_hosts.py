"""How long a sum takes among 16 to 1,024 hosts: a model of time, fitted to what was measured.

python benchmarks/many_hosts.py

Reads the results of ranks.py, scaling.py and crossover.py, and runs nothing itself. An all-reduce
takes, in seconds::

    share x (message x pieces + byte x bytes)
    + max(link, share x (message x messages + wire x sent))

"messages" and "sent" bytes are a rank's. "pieces" are what it publishes within its host, which lets
another rank go on as a message does; "bytes" are those that it copies and adds there. "link" is
what a host sends divided by the link's speed, and while it sends, processors work. "share" is how
many ranks have one processor: all ranks of the measurement share this machine's. The three figures
`message`, `byte` and `wire` are fitted by least squares of relative errors to all layouts but one,
and compared with that one. Fails if its median error is above 15 %.
"""

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from _report import RESULTS, Goal, brief, conclude, table, write
from ranks import SIZES

from zoo.orca.worker.collective.groups.hosts import _SHARED_BYTES
from zoo.orca.worker.collective.groups.layout import ROW, rows_of
from zoo.orca.worker.collective.groups.rows import _WHOLE_BYTES
from zoo.orca.worker.collective.segment import HALF_BYTES
from zoo.orca.worker.collective.sockets import EAGER_BYTES
from zoo.orca.worker.collective.streams import _DIRECT_BYTES

#: The layout that is predicted, not fitted: hosts and ranks of each.
LEFT_OUT = (4, 2)
MOST_ERROR = 0.15
#: Milliseconds from a host to another and back in a data centre; these measurements have none.
AWAY = 0.2
HOSTS = (2, 16, 64, 256, 1024)
RANKS = 4
STEP_ROWS = 1280


@dataclass(frozen=True)
class Work:
    """What one rank of a layout does in an all-reduce, in messages and bytes."""

    messages: int
    pieces: int
    rounds: int
    within: float
    sent: float
    by_host: float


def work(hosts: int, ranks: int, size: float) -> Work:
    """Return what the collective does: `worker/collective/groups` has the same rules."""
    carriers = ranks if ranks > 1 and size > _SHARED_BYTES else 1
    messages, rounds, sent = among(hosts, size / carriers)
    within, pieces = 0.0, 0
    if ranks > 1:
        # Into the memory, added, and out of it again.
        within, pieces = 3 * size, 2 * math.ceil(size / HALF_BYTES)
    return Work(messages, pieces, rounds, within, sent, sent * carriers)


def among(hosts: int, size: float) -> tuple[int, int, float]:
    """Return the messages, rounds and bytes of a rank that sums `size` bytes with others."""
    if hosts == 1:
        return 0, 0, 0.0
    if hosts > ROW:
        rows = rows_of(range(hosts))
        row, places = len(rows[0]), len(rows[-1])
        whole = size <= _WHOLE_BYTES
        messages, rounds, sent = among(len(rows), size if whole else size / places)
        if whole:
            return messages + row - 1, rounds + 1, sent + (row - 1) * size
        least = 2 * (row - 1) / places * size
        return messages + 2 * (row - 1), rounds + 2, sent + least
    others = hosts - 1
    if size * others <= _DIRECT_BYTES or (hosts == 2 and size <= EAGER_BYTES):
        return others, 1, others * size
    if hosts == 2:
        return 2, 1, size
    return 2 * others, 2, 2 * others / hosts * size


@dataclass(frozen=True)
class Model:
    """The fitted figures, in seconds a message, a byte within a host, a byte sent."""

    message: float
    byte: float
    wire: float

    def seconds(self, one: Work, gigabits: float, share: float) -> float:
        """Return the time of an all-reduce."""
        within = self.message * one.pieces + self.byte * one.within
        return share * within + max(link_of(one, gigabits), share * self.between(one))

    def between(self, one: Work) -> float:
        """Return the seconds that a processor works for what travels between hosts."""
        return self.message * one.messages + self.wire * one.sent


def link_of(one: Work, gigabits: float) -> float:
    """Return the seconds that a host's link takes to send its bytes."""
    return one.by_host * 8 / (gigabits * 1e9)


def fit(points: Sequence[dict[str, Any]]) -> Model:
    """Return the model of least relative error; which of link and processor limits is iterated."""
    seconds = np.array([measured(point) for point in points])
    model = Model(1e-5, 1e-10, 1e-10)
    for _ in range(50):
        rows, rest = [], []
        for point, took in zip(points, seconds, strict=True):
            one, share = work_of(point), share_of(point)
            link = link_of(one, point["Gbit/s"])
            limited = link >= share * model.between(one)
            messages = one.pieces + (0 if limited else one.messages)
            sent = 0.0 if limited else one.sent
            rows.append([share * messages, share * one.within, share * sent])
            rest.append(took - link if limited else took)
        matrix = np.array(rows) / seconds[:, None]
        found = positive(matrix, np.array(rest) / seconds)
        # Halfway, so that points at the border of the two limits do not swing.
        mixed = (found + np.array([model.message, model.byte, model.wire])) / 2
        model = Model(*mixed.tolist())
    return model


def positive(matrix: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the least squares without negative figures, by leaving those out one by one."""
    kept = list(range(matrix.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(matrix[:, kept], goal, rcond=None)
        if (found >= 0).all():
            answer = np.zeros(matrix.shape[1])
            answer[kept] = found
            return answer
        kept.pop(int(np.argmin(found)))


def measured(point: dict[str, Any]) -> float:
    """Return the median seconds of Orca's all-reduce."""
    return median(point["seconds"]["orca"])


def work_of(point: dict[str, Any]) -> Work:
    """Return the work of a measured point."""
    return work(point["hosts"], point["ranks"], SIZES[point["size"]])


def share_of(point: dict[str, Any]) -> float:
    """Return the ranks a processor of this machine."""
    return max(1.0, point["hosts"] * point["ranks"] / (os.cpu_count() or 1))


def errors_table(model: Model, points: Sequence[dict[str, Any]]) -> tuple[str, list[float]]:
    """Return measured and predicted times, and the relative errors."""
    rows, errors = [], []
    for point in points:
        took = measured(point)
        said = model.seconds(work_of(point), point["Gbit/s"], share_of(point))
        errors.append(abs(said / took - 1))
        place = [f"{point['Gbit/s']:g}", point["size"]]
        rows.append([*place, brief(took * 1e3), brief(said * 1e3), f"{said / took - 1:+.0%}"])
    return table(["Gbit/s", "size", "measured, ms", "predicted, ms", "error"], rows), errors


@dataclass(frozen=True)
class Training:
    """A model's step on one worker: the seconds it computes, and the bytes of its gradients."""

    name: str
    compute: float
    size: float


def trainings() -> list[Training]:
    """Return the models, with what was measured of them."""
    rates = read("scaling")["runs"]
    wide = read("crossover")["runs"]
    found = []
    for name, size in (("ncf", 164_000), ("dense", 1_280_000)):
        rate = median(values(rates, "1 worker", name))
        found.append(Training(f"{name}, 1,280 rows a worker", STEP_ROWS / rate, size))
    alone = median(values(wide, "plain, half a batch", "64m")) / 1e3
    large = 400_000_000
    # Time follows the number of weights: both the passes and the update touch each once a step.
    name = "400 MB of weights, 32 rows a worker"
    return [*found, Training(name, alone * large / (64 << 20), large)]


def values(runs: Sequence[dict[str, Any]], contestant: str, figure: str) -> list[float]:
    """Return a contestant's figures of all rounds."""
    mine = [run["figures"] for run in runs if run["contestant"] == contestant]
    return [figures[figure] for figures in mine if figure in figures]


def sum_seconds(model: Model, hosts: int, size: float, gigabits: float) -> float:
    """Return a sum's time where each rank has a processor, and hosts are `AWAY`."""
    one = work(hosts, RANKS, size)
    return model.seconds(one, gigabits, 1.0) + one.rounds * AWAY / 2 / 1e3


def steps_table(model: Model, gigabits: float) -> str:
    """Return a step's time by the number of hosts, and the part of it that is computing."""
    rows = []
    for one in trainings():
        cells = []
        for hosts in HOSTS:
            total = one.compute + sum_seconds(model, hosts, one.size, gigabits)
            cells.append(f"{brief(total * 1e3)} ({one.compute / total:.0%})")
        rows.append([one.name, brief(one.compute * 1e3), *cells])
    names = ["model", "computing, ms", *(f"{hosts:,} hosts" for hosts in HOSTS)]
    return table(names, rows)


def limits_table(model: Model) -> str:
    """Return where more hosts stop paying for one global batch, and what a sum's time is made of.

    The batch of `HOSTS[0]` hosts is divided among more and more: each computes less, and the sum
    takes as long as before or longer.
    """
    rows = []
    for gigabits in (10.0, 1.0):
        for one in trainings():
            counts = [2**power for power in range(11)]
            steps = {
                hosts: one.compute * HOSTS[0] / hosts
                + (sum_seconds(model, hosts, one.size, gigabits) if hosts > 1 else 0.0)
                for hosts in counts
            }
            best = min(steps, key=steps.__getitem__)
            total = sum_seconds(model, HOSTS[-1], one.size, gigabits)
            link = work(HOSTS[-1], RANKS, one.size).by_host * 8 / (gigabits * 1e9)
            away = work(HOSTS[-1], RANKS, one.size).rounds * AWAY / 2 / 1e3
            parts = [f"{part / total:.0%}" for part in (link, away)]
            best_step = f"{best:,} ({brief(steps[best] * 1e3)} ms)"
            rows.append([f"{gigabits:g}", one.name, best_step, brief(total * 1e3), *parts])
    names = ["Gbit/s", "model", "fastest at hosts", "a sum of 1,024, ms", "link", "distance"]
    return table(names, rows)


def read(name: str) -> dict[str, Any]:
    """Return a benchmark's results."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def main() -> int:
    """Fit, compare and print; return the exit code."""
    points = read("ranks")["points"]
    apart = [p for p in points if (p["hosts"], p["ranks"]) == LEFT_OUT]
    fitted = [p for p in points if p not in apart]
    model = fit(fitted)
    compared, errors = errors_table(model, apart)
    _, own = errors_table(model, fitted)
    figures = table(
        ["figure", "value"],
        [
            ["a message", f"{model.message * 1e6:.3g} µs"],
            ["a byte within a host", f"{model.byte * 1e9:.3g} ns"],
            ["a byte sent, received and added", f"{model.wire * 1e9:.3g} ns"],
        ],
    )
    sections = {
        "": SETTING.format(left=LEFT_OUT, own=median(own), ranks=RANKS, away=AWAY),
        "Figures": figures,
        "Compared": compared,
        "Steps at 10 Gbit/s": steps_table(model, 10.0),
        "Steps at 1 Gbit/s": steps_table(model, 1.0),
        "Limits": limits_table(model),
    }
    name = f"median error of {LEFT_OUT[0]} hosts x {LEFT_OUT[1]} ranks, not fitted"
    goals = [
        Goal(name, median(errors), MOST_ERROR, at_most=True),
        Goal("its greatest error", max(errors), at_most=True),
    ]
    path = write("many_hosts", "Many hosts", sections, goals=goals)
    return conclude(path, [figures, compared, sections["Steps at 10 Gbit/s"]], goals)


SETTING = """\
Fitted to the layouts of [ranks](ranks.md) but {left[0]} hosts of {left[1]} ranks; the median \
error of those that it was fitted to is {own:.0%}. Steps are of {ranks} ranks a host with a \
processor each, hosts {away} ms away from each other, there and back, which is assumed. A model's \
own time is measured on one worker. In brackets: the part of a step that is computing."""


if __name__ == "__main__":
    sys.exit(main())
