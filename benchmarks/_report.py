"""What all benchmarks share: contestants in turns, figures beside their bars, a page of results.

::

    race          one contestant in a cold process       -> the JSON object it ends with
    take_turns    all contestants, round by round        -> Run, Run, ... in the order they ran
    spread, ratio, Goal                                  -> tables
    write         benchmarks/results/NAME.md and NAME.json
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from _paths import ROOT
from _processes import Watch

HERE = Path(__file__).parent
#: Another directory for a run that is only to be looked at.
RESULTS_VARIABLE = "ORCA_BENCHMARK_RESULTS"
RESULTS = Path(os.environ.get(RESULTS_VARIABLE, HERE / "results"))


@dataclass(frozen=True)
class Run:
    """What one contestant came to in one round: figures by name."""

    round: int
    contestant: str
    figures: dict[str, float]


@dataclass(frozen=True)
class Goal:
    """A figure beside what it must be, and what it reaches for.

    `detail` is shown beside the figure, such as the least and greatest of the rounds.
    """

    name: str
    value: float
    must: float | None = None
    reach: float | None = None
    at_most: bool = False
    detail: str = ""

    def meets(self, bar: float) -> bool:
        """Whether the figure is on the right side of a bar."""
        return self.value <= bar if self.at_most else self.value >= bar

    @property
    def mark(self) -> str:
        """The verdict in words."""
        if self.must is None:
            return "–"
        if not self.meets(self.must):
            return "MISSED"
        return "reached" if self.reach is not None and self.meets(self.reach) else "met"


def race(
    script: str, *arguments: object, timeout: float = 900, memory: bool = False
) -> dict[str, Any]:
    """Run a script in a process of its own and return the JSON object of its last line.

    With `memory`, the object also has `peak_memory`: the most bytes that the process and all its
    descendants had resident at a time.

    Raises
    ------
    SystemExit
        If it fails; with what it printed.
    """
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    watch = Watch(process.pid) if memory else None
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
        peak = watch.stop() if watch else 0
    lines = stdout.splitlines()
    if process.returncode or not lines:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{stdout[-3000:]}{stderr[-6000:]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer | {"peak_memory": peak} if memory else answer


def race_together(*commands: Sequence[object], timeout: float = 900) -> list[dict[str, Any]]:
    """Race several scripts at the same time; return their answers in order."""

    def run(command: Sequence[object]) -> dict[str, Any]:
        script, *arguments = command
        return race(str(script), *arguments, timeout=timeout)

    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(run, commands))


def environment() -> dict[str, str]:
    """Return the variables that every contestant runs with."""
    paths = [ROOT / "src", ROOT / "examples", HERE, os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if str(path)),
    }


def take_turns(
    contestants: Mapping[str, Callable[[], dict[str, float]]], rounds: int, unit: str = ""
) -> list[Run]:
    """Let the contestants run in turns; return all runs in the order they ran.

    Every second round goes backwards, so that a machine that grows slower, or faster, favours
    nobody.
    """
    runs = []
    for number in range(1, rounds + 1):
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            runs.append(Run(number, name, contestants[name]()))
            said = ", ".join(f"{key}: {brief(value)}" for key, value in runs[-1].figures.items())
            print(f"round {number}: {name}: {said} {unit}".rstrip(), flush=True)
    return runs


def values(runs: Iterable[Run], contestant: str, figure: str) -> list[float]:
    """Return a contestant's figure in each round, by round."""
    found = [run for run in runs if run.contestant == contestant and figure in run.figures]
    return [run.figures[figure] for run in sorted(found, key=lambda run: run.round)]


def spread(figures: Sequence[float]) -> str:
    """Return ``median (least–greatest)``, or a dash where nothing was measured."""
    if not figures:
        return "–"
    return f"{brief(median(figures))} ({brief(min(figures))}–{brief(max(figures))})"


def brief(value: float) -> str:
    """Return a number with as many digits as mean something."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, str]:
    """Return the ratio of two contestants' medians, and its range within the rounds as text."""
    within = [a / b for a, b in zip(above, below, strict=True)]
    return median(above) / median(below), f"{min(within):.3g}–{max(within):.3g}"


def goals_table(goals: Sequence[Goal]) -> str:
    """Return the goals with their marks."""
    rows = []
    for goal in goals:
        sign = "≤" if goal.at_most else "≥"
        reach = "" if goal.reach is None else f"{sign} {goal.reach:g}"
        must = "–" if goal.must is None else f"{sign} {goal.must:g}"
        rows.append([goal.name, f"{goal.value:.3g}", goal.detail, must, reach, goal.mark])
    names = ["ratio of medians", "measured", "within rounds", "must", "reach", "mark"]
    return table(names, rows)


def runs_table(runs: Sequence[Run]) -> str:
    """Return every run, in the order they ran."""
    figures = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = [
        [run.round, run.contestant]
        + [brief(run.figures[name]) if name in run.figures else "" for name in figures]
        for run in runs
    ]
    return table(["round", "contestant", *figures], rows)


def table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table that reads well as text and as Markdown."""
    cells = [[str(value) for value in row] for row in [names, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def write(
    name: str,
    title: str,
    sections: Mapping[str, str],
    *,
    runs: Sequence[Run] = (),
    goals: Sequence[Goal] = (),
    data: Mapping[str, Any] | None = None,
) -> Path:
    """Write benchmarks/results/NAME.md for people, and NAME.json for tables and plots.

    The page has the command, the machine, the sections, the goals and, last, every run. `data` is
    what the file for programs has besides.
    """
    sections = dict(sections)
    if goals:
        sections["Goals"] = goals_table(goals)
    if runs:
        sections["Every run, in the order they ran"] = runs_table(runs)
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_arguments()])
    parts = [f"# {title}", f"`{command}`, {date.today()}", machine()]
    for heading, text in sections.items():
        parts += [f"## {heading}", text] if heading else [text]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n\n".join(parts) + "\n")
    kept = {"title": title, "command": command, "machine": machine(), "sections": sections}
    kept["goals"] = [asdict(goal) | {"mark": goal.mark} for goal in goals]
    kept["runs"] = [asdict(run) for run in runs]
    path.with_suffix(".json").write_text(json.dumps(kept | dict(data or {}), indent=1) + "\n")
    return path


def result_name(benchmark: str, frameworks: Sequence[str]) -> str:
    """Return the name of the results for these frameworks; those of tf2 have no suffix."""
    return benchmark if list(frameworks) == ["tf2"] else "-".join([benchmark, *frameworks])


def conclude(path: Path, shown: Sequence[str], goals: Sequence[Goal]) -> int:
    """Print what a benchmark came to; return its exit code: 1 if a must was missed."""
    print("", *shown, *([goals_table(goals)] if goals else []), path, sep="\n\n")
    return int(any(goal.mark == "MISSED" for goal in goals))


def machine() -> str:
    """Describe what a result depends on: processors, memory, versions, and what else runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("tensorflow", "tf-keras", "keras", "jax", "torch", "pyspark", "pyarrow", "numpy")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {_version(name)}" for name in packages]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.system()} {platform.machine()}, {cpus()} processors, {memory:.0f} GiB of "
        f"memory. {', '.join(versions)}. Load average afterwards {load}."
    )


def cpus() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str:
    names = {package, f"{package}-cpu"}
    for name in sorted(names, reverse=True):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def _arguments() -> list[str]:
    """Return this program's arguments, paths shortened to their last part."""
    return [Path(text).name if os.sep in text else text for text in sys.argv[1:]]
