"""The processors that a process may use, and the variable that names its GPUs."""

import os

#: A framework reads it once, when it first asks for a device.
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


def usable_processors() -> list[int]:
    """Return the numbers of the processors that this process may use.

    On macOS, which has no affinity, a process may use all.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
