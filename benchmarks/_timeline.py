"""When a program's processes start, and when its code says that it is somewhere: one clock.

A `Timeline` looks at /proc every few milliseconds, so nothing has to be changed in what it looks
at. Code that runs in another process leaves a mark, a file with the time in its name.
"""

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _processes import descendants

_INTERVAL_SECONDS = 0.05
#: What the command lines of Spark's and Orca's processes hold; the first that fits counts.
_KINDS = {
    b"-m\0zoo.orca.worker.child": "child",
    b"-m\0pyspark.daemon": "daemon",
    b"-m\0zoo.orca.context.daemon": "daemon",
    b"org.apache.spark.deploy.SparkSubmit": "JVM",
}


class Timeline:
    """Notes when the processes that a process starts are first seen, from now on until it ends."""

    def __init__(self, root: int | None = None) -> None:
        self._root = root or os.getpid()
        self._seen: dict[int, tuple[str, float]] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, list[float]]:
        """Return when the processes of each kind were first seen, in order."""
        self._ends.set()
        self._thread.join()
        found: dict[str, list[float]] = {}
        for kind, when in sorted(self._seen.values(), key=lambda one: one[1]):
            found.setdefault(kind, []).append(when)
        return found

    def _run(self) -> None:
        while not self._ends.wait(_INTERVAL_SECONDS):
            now = time.time()
            for process in descendants(self._root):
                kind = _kind(process)
                # A fork has its parent's command line until it starts a program of its own.
                if kind and self._seen.get(process, ("", 0.0))[0] != kind:
                    self._seen[process] = (kind, now)


def _kind(process: int) -> str:
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        above = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return ""
    kind, of_parent = _named(command), _named(above)
    # A daemon's workers are forks of it.
    return "Python worker" if kind == of_parent == "daemon" else kind


def _named(command: bytes) -> str:
    return next((name for part, name in _KINDS.items() if part in command), "")


def mark(directory: str, name: str) -> None:
    """Note that the running process has come to a place."""
    (Path(directory) / f"{time.time():.4f} {os.getpid()} {name}").touch()


def marks(directory: str) -> dict[str, list[float]]:
    """Return the times of all marks, by name, in order."""
    found: dict[str, list[float]] = {}
    for path in sorted(Path(directory).iterdir()):
        when, _, name = path.name.split(" ", 2)
        found.setdefault(name, []).append(float(when))
    return found


def stages(spark: Any, since: float) -> list[tuple[str, float, float]]:
    """Return Spark's stages that began after a moment: their names, beginnings and ends."""
    store = spark.sparkContext._jsc.sc().statusStore()
    found = []
    gateway = spark.sparkContext._gateway
    nothing = gateway.new_array(gateway.jvm.double, 0)
    listed = store.stageList(None, False, False, nothing, gateway.jvm.java.util.ArrayList())
    for n in range(listed.size()):
        stage = listed.apply(n)
        began, ended = stage.submissionTime(), stage.completionTime()
        if began.isDefined() and began.get().getTime() / 1000 >= since:
            end = ended.get().getTime() / 1000 if ended.isDefined() else float("nan")
            found.append((str(stage.name()), began.get().getTime() / 1000, end))
    return sorted(found, key=lambda one: one[1])


def after(times: Mapping[str, list[float]], since: float) -> dict[str, float]:
    """Return the seconds from a moment until all of a kind were seen."""
    return {name: max(whens) - since for name, whens in times.items()}
