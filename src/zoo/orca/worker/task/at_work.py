"""Which workers are at work beside this one on its executor.

Fits of several threads, as of a search with trials side by side, share an executor's processors.
Nobody but the executor knows: the driver sees slots, and a stage sees its own tasks. So each worker
leaves a mark in the executor's directory for as long as it runs.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from zoo.orca.errors import OrcaError
from zoo.orca.worker.temporary import local_directory

_NAME = "orca-at-work"


class AtWork:
    """One worker's mark, which others see until it is closed, or its process has died.

    Parameters
    ----------
    stage, rank : int
    directory : Path, optional
        By default Spark's for temporary files, which each executor has for itself.
    """

    def __init__(self, stage: int, rank: int, directory: Path | None = None) -> None:
        self._stage = stage
        self._descriptor = -1
        # Without a mark the job runs as well, only not as fast as it might beside others.
        with contextlib.suppress(OSError, OrcaError):
            self._directory = directory or Path(local_directory())
            self._path = self._directory / f"{_NAME}-{stage}-{rank}-{os.getpid()}"
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            # no limit: LOCK_NB answers at once
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def others(self) -> int:
        """Return how many workers of other stages are at work on this executor."""
        if self._descriptor < 0:
            return 0
        own = f"{_NAME}-{self._stage}-"
        marks = self._directory.glob(f"{_NAME}-*")
        return sum(not mark.name.startswith(own) and _is_locked(mark) for mark in marks)

    def close(self) -> None:
        """Remove the mark."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1


def _is_locked(mark: Path) -> bool:
    """Whether the process that left a mark is still there; the marks of others are removed."""
    try:
        descriptor = os.open(mark, os.O_RDWR)
    except OSError:  # it has just ended
        return False
    try:
        # no limit: LOCK_NB answers at once
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        with contextlib.suppress(OSError):
            mark.unlink()
        return False
    finally:
        os.close(descriptor)
