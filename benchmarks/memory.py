"""Training on more rows than memory is to hold: what it takes, over time, and what it costs.

python benchmarks/memory.py [--rows N] [--speed-rows N] [--rounds N] [--workers N]

First the memory: rows of three ints, trained for one epoch with a data budget of 256 MB a worker,
beside the same program with hardly any rows, which is what Spark and the framework take by
themselves. Anonymous memory, that is memory which no file stands behind, of all processes. The
picture needs matplotlib.

Then the speed: second epochs of fits whose rows are within the budget, and of fits with a budget of
an eighth of the rows, which take them window by window. They take turns in one session, over files
that are in the page cache.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from _report import RESULTS, Goal, conclude, race, table, write

matplotlib.use("Agg")  # there may be no screen
from matplotlib import pyplot  # noqa: E402

#: A part of the command line tells whose process it is; the first that fits.
KINDS = {
    "bin/java": "JVM",
    "zoo.orca.worker": "training processes",
    "pyspark": "Spark's Python workers",
    "_stream.py": "driver",
}
#: Those that the data budget is about.
OURS = ("training processes", "Spark's Python workers", "driver")
INTERVAL = 0.25
MEGA = 1 << 20
#: What one row and its place in the order weigh.
ROW_BYTES = 3 * 4 + 8
LEAST_SPEED = 0.8
MARGIN = 1.1


@dataclass
class Watch:
    """Samples the anonymous memory of the processes below this one."""

    moments: list[float] = field(default_factory=list)
    taken: list[dict[str, float]] = field(default_factory=list)

    def during(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what `run` returns, and sample until then."""
        done = threading.Event()
        thread = threading.Thread(target=self._sample, args=(done,))
        thread.start()
        try:
            return run()
        finally:
            done.set()
            thread.join()

    def between(self, first: float, last: float, kinds: tuple[str, ...] = OURS) -> list[float]:
        """Return the sums in MB of some processes, sample by sample, between two moments."""
        return [
            sum(taken.get(kind, 0.0) for kind in kinds)
            for moment, taken in zip(self.moments, self.taken, strict=True)
            if first <= moment <= last
        ]

    def _sample(self, done: threading.Event) -> None:
        while not done.wait(INTERVAL):
            sums: dict[str, float] = {}
            for process in descendants():
                try:
                    command = (process / "cmdline").read_bytes().decode(errors="replace")
                    anonymous = status(process, "RssAnon")
                except OSError:  # it has ended
                    continue
                kind = next((kind for part, kind in KINDS.items() if part in command), None)
                if kind is not None:
                    sums[kind] = sums.get(kind, 0.0) + anonymous / 1024
            self.moments.append(time.time())
            self.taken.append(sums)


def descendants() -> list[Path]:
    """Return the processes that this one has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents.setdefault(status(process, "PPid"), []).append(int(process.name))
        except OSError:
            continue
    found, more = [], [int(Path("/proc/self").resolve().name)]
    while more:
        more = [child for parent in more for child in parents.get(parent, [])]
        found += [Path("/proc") / str(number) for number in more]
    return found


def status(process: Path, name: str) -> int:
    """Return a number of /proc/PID/status; 0 where there is none, as of a process at its end."""
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def watched(rows: int, options: argparse.Namespace) -> tuple[Watch, list[float]]:
    """Train on so many rows; return the samples and the moments."""
    watch = Watch()
    ran = watch.during(
        lambda: race(
            "_stream.py",
            *("--rows", rows),
            *("--workers", options.workers),
            *("--batch-size", options.batch_size),
            *("--budgets", f"{options.budget}m"),
            timeout=options.timeout,
        )
    )
    moments = ran["runs"][0]
    print(f"{rows:,} rows: trained in {moments[2] - moments[1]:.1f} s", flush=True)
    return watch, moments


def describe(
    big: tuple[Watch, list[float]], base: tuple[Watch, list[float]], options: argparse.Namespace
) -> tuple[str, list[Goal]]:
    """Return a table of the memory, and what it must be."""
    rows = []
    for kinds in (*((kind,) for kind in OURS), OURS, ("JVM",)):
        cells = ["all of these" if len(kinds) > 1 else kinds[0]]
        for (watch, (began, first, *_, last, _)), of in ((base, "call"), (big, "phases")):
            parts = [(began, last)] if of == "call" else [(began, first), (first, last)]
            cells += [f"{max(watch.between(*part, kinds), default=0):,.0f}" for part in parts]
        rows.append(cells)
    watch, (_, first, *_, last, _) = big
    training = watch.between(first, last)
    quarter = max(1, len(training) // 4)
    early, late = max(training[quarter : 2 * quarter]), max(training[-quarter:])
    allowed = options.budget * options.workers
    least = max(base[0].between(base[1][0], base[1][-2]))
    limit = MARGIN * (least + allowed)
    text = table(
        ["anonymous memory, MB", "hardly any rows", "rows are moved", "training"], rows
    ) + (
        f"\n\nGreatest values. {options.rows:,} rows are {options.rows * 12 / MEGA:,.0f} MB; "
        f"{options.workers} workers, {options.budget} MB each, batches of {options.batch_size:,}; "
        f"{options.rows / (last - first):,.0f} rows/s.\n\n"
        f"Training must stay within {MARGIN} x ({least:,.0f} + {allowed:,}) = {limit:,.0f} MB, and "
        f"took {max(training):,.0f} MB: {early:,.0f} MB in its second quarter, {late:,.0f} MB in "
        "its last.\n\n![Anonymous memory over time](memory.png)"
    )
    goals = [
        Goal("MB ÷ (base + budget)", max(training) / (least + allowed), MARGIN, at_most=True),
        Goal("last quarter ÷ second quarter", late / early, MARGIN, at_most=True),
    ]
    return text, goals


def draw(watch: Watch, moments: list[float], options: argparse.Namespace) -> None:
    """Write memory.png."""
    began, first, *_, last, _ = moments
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    times = [moment - began for moment in watch.moments]
    for kind in KINDS.values():
        values = [taken.get(kind, 0.0) for taken in watch.taken]
        axes.plot(times, values, label=kind, linestyle=":" if kind == "JVM" else "-")
    together = [sum(taken.get(kind, 0.0) for kind in OURS) for taken in watch.taken]
    axes.plot(times, together, label="all but the JVM", color="black", linewidth=2)
    axes.axvspan(0, first - began, alpha=0.08, color="tab:blue", label="rows are moved")
    axes.axvspan(first - began, last - began, alpha=0.08, color="tab:green", label="training")
    axes.set(
        xlabel="seconds since the call of fit",
        ylabel="anonymous memory, MB",
        title=f"{options.rows:,} rows of 3 ints ({options.rows * 12 / MEGA:,.0f} MB), "
        f"{options.workers} workers, budget {options.budget} MB each",
        ylim=(0, None),
    )
    axes.legend(fontsize="small")
    figure.savefig(RESULTS / "memory.png", dpi=110)


def speed(options: argparse.Namespace) -> tuple[str, Goal]:
    """Return a table of the speed, and what it must be."""
    rows = options.speed_rows
    eighth = str(rows // options.workers // 8 * ROW_BYTES)
    # Pairs in turns: whoever is first in one round is second in the next.
    pairs = [("64g", eighth) if number % 2 else (eighth, "64g") for number in range(options.rounds)]
    budgets = ["64g", *(budget for pair in pairs for budget in pair)]  # the first warms up
    ran = race(
        "_stream.py",
        *("--rows", rows),
        *("--workers", options.workers),
        *("--batch-size", options.speed_batch_size),
        *("--epochs", 2),
        *("--budgets", *budgets),
        timeout=options.timeout,
    )["runs"]
    rates: dict[str, list[float]] = {"64g": [], eighth: []}
    for budget, moments in list(zip(budgets, ran, strict=True))[1:]:
        rates[budget].append(rows / (moments[3] - moments[2]))
    ratios = [b / a for a, b in zip(rates["64g"], rates[eighth], strict=True)]
    lines = [
        [name, f"{median(found):,.0f}", f"{min(found):,.0f}-{max(found):,.0f}"]
        + [" ".join(f"{value:,.0f}" for value in found)]
        for name, found in (("within the budget", rates["64g"]), ("in windows", rates[eighth]))
    ]
    text = table(["order", "rows/s", "min-max", "runs"], lines) + (
        f"\n\n{rows:,} rows, batches of {options.speed_batch_size:,}, second epochs. In windows / "
        f"within the budget: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}); "
        f"it must be {LEAST_SPEED} or more."
    )
    return text, Goal("rows/s in windows ÷ within the budget", median(ratios), LEAST_SPEED)


def main() -> None:
    """Measure both, write the results, fail where they are not as they must be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--budget", type=int, default=256, help="MB a worker")
    parser.add_argument("--batch-size", type=int, default=65536)
    parser.add_argument("--speed-rows", type=int, default=5_000_000)
    parser.add_argument("--speed-batch-size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=1800)
    options = parser.parse_args()
    base = watched(options.workers * options.batch_size, options)
    big = watched(options.rows, options)
    RESULTS.mkdir(exist_ok=True)
    draw(*big, options)
    memory, goals = describe(big, base, options)
    print(memory)
    rates, fast = speed(options)
    goals = [*goals, fast]
    sections = {"Memory": memory, "Speed": rates}
    path = write("memory", "More rows than memory is to hold", sections, goals=goals)
    sys.exit(conclude(path, [rates], goals))


if __name__ == "__main__":
    main()
