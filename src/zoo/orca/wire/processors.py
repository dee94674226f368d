"""The processors that a process may use: the driver and the workers count them alike."""

import os


def usable_processors() -> list[int]:
    """Return the numbers of the processors that this process may use.

    macOS has no affinity: there a process may use all.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
