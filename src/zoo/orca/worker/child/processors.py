"""On which processors a child's threads run.

They are a job's: the next job may give this Python worker another rank, and a warm child would be
of no use if it could not move.
"""

import contextlib
import os
from collections.abc import Collection
from typing import Final

from zoo.orca.wire.processors import usable_processors

_THREADS: Final = "/proc/self/task"


class Processors:
    """Where the threads of this process run: at first, wherever they may."""

    def __init__(self) -> None:
        self._all = self._now = frozenset(usable_processors())

    def bind(self, cpus: Collection[int]) -> None:
        """Let all threads, those to come too, run on `cpus` alone; none given: wherever they may.

        Only Linux can: elsewhere nothing happens.
        """
        wanted = frozenset(cpus) or self._all
        if wanted == self._now or not os.path.isdir(_THREADS):
            return
        moved: set[str] = set()
        # A thread that begins meanwhile may have been begun by one that was not yet moved.
        while left := set(os.listdir(_THREADS)) - moved:
            for thread in left:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setaffinity(int(thread), wanted)
            moved |= left
        self._now = wanted
