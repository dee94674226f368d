"""Runs contestants in cold processes, and writes what they came to as a page of results."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def race(script: str, *arguments: object, timeout: float = 600) -> dict[str, Any]:
    """Run a script in a process of its own and return the JSON object of its last line.

    Raises
    ------
    SystemExit
        If it fails; with what it printed.
    """
    environment = os.environ | {
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)
    lines = ran.stdout.splitlines()
    if ran.returncode or not lines:
        raise SystemExit(
            f"{' '.join(command[1:])} failed:\n{ran.stdout[-3000:]}{ran.stderr[-6000:]}"
        )
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


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


def write(name: str, title: str, sections: Mapping[str, str]) -> Path:
    """Write benchmarks/results/NAME.md: the command, the machine, and the sections."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_arguments()])
    parts = [f"# {title}", f"`{command}`", machine()]
    for heading, text in sections.items():
        parts += [f"## {heading}", text] if heading else [text]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n\n".join(parts) + "\n")
    return path


def machine() -> str:
    """Describe what a result depends on: processors, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ("tensorflow", "tf-keras", "pyspark", "pyarrow", "numpy")
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {_version(name)}" for name in packages]
    return (
        f"{platform.system()} {platform.machine()}, {cpus()} processors, {memory:.0f} GiB of "
        f"memory. {', '.join(versions)}."
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
