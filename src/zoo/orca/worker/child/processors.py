"""Which processors a child's threads run on.

The processors belong to a job, because the next job may give this Python worker another rank. A
warm child that could not move would be of no use.
"""

import contextlib
import os
from collections.abc import Collection
from typing import Final

from zoo.orca.wire.processors import usable_processors

_THREADS: Final = "/proc/self/task"


class Processors:
    """The processors of this process's threads; at first, all that are allowed."""

    def __init__(self) -> None:
        self._all = self._now = frozenset(usable_processors())

    def bind(self, cpus: Collection[int]) -> None:
        """Run all threads, including later ones, on `cpus` only; without any, on all allowed ones.

        No-op except on Linux.
        """
        wanted = frozenset(cpus) or self._all
        if wanted == self._now or not os.path.isdir(_THREADS):
            return
        moved: set[str] = set()
        # A thread that starts meanwhile may come from one that was not yet moved.
        while left := set(os.listdir(_THREADS)) - moved:
            for thread in left:
                with contextlib.suppress(ProcessLookupError):  # the thread has ended meanwhile
                    os.sched_setaffinity(int(thread), wanted)
            moved |= left
        self._now = wanted
