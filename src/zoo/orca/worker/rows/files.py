"""The files of a worker's rows: for this account alone, and an error that says where no room is."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from zoo.orca.errors import WorkerError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def private(path: str, flags: int) -> int:
    """Open a file that no other account may read, whatever the umask; an opener for `open`."""
    return os.open(path, flags, 0o600)


def create(path: str) -> str:
    """Make an empty file that no other account may read, for a writer that takes its name."""
    os.close(private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    return path


@contextlib.contextmanager
def writing(directory: str) -> Iterator[None]:
    """Let an error say that files cannot be written below `directory`, and what helps.

    Raises
    ------
    WorkerError
    """
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        why = os.strerror(error.errno) if error.errno else str(error)
        wanted = "a disk with more room" if full else "one that the workers' account may write to"
        raise WorkerError(
            f"rows cannot be written below {directory}, Spark's directory for temporary files: "
            f"{why}{_room(directory) if full else ''}\n"
            f"Let spark.local.dir name {wanted} before the session starts, or where executors "
            "have their own (SPARK_LOCAL_DIRS, YARN's local-dirs) those"
        ) from error


def _room(directory: str) -> str:
    """Return how much room is there, where that is known."""
    try:
        found = os.statvfs(directory)
    except OSError:  # it may be gone, and the error to tell is another
        return ""
    free, whole = (blocks * found.f_frsize / 1e6 for blocks in (found.f_bavail, found.f_blocks))
    return f" ({free:,.0f} of {whole:,.0f} MB are free)"
