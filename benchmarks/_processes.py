"""The memory of a process and all its descendants, as /proc has it."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_INTERVAL_SECONDS = 0.25


class Watch:
    """Samples a process tree until it is stopped; sees nothing where there is no /proc."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._peak = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the most bytes that the tree had resident; pages that are shared count twice."""
        self._ends.set()
        self._thread.join()
        return self._peak

    def _run(self) -> None:
        while not self._ends.wait(_INTERVAL_SECONDS):
            self._peak = max(self._peak, sum(_resident(pid) for pid in descendants(self._root)))


def descendants(root: int) -> Iterator[int]:
    """Yield a process and all that it has started, directly or not."""
    children = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # The name before the parent's number may hold blanks and parentheses.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children[parent].append(int(entry.name))
    found = [root]
    while found:
        process = found.pop()
        yield process
        found += children[process]


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(sizes[0]) if sizes else 0
