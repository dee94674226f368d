"""A task whose reader has gone: it wants no more rows, and that is no error.

An action like ``limit(5)`` ends a task between two batches, and so does cancelling a job. Spark
closes its side of the socket, and pyspark's daemon, which forks the Python workers, prints a
traceback on the program's terminal when a worker cannot write to it what is left in a buffer. The
worker ends either way.
"""

import sys
import traceback
from typing import Any


class _ForgivingTraceback:
    """Stands in for the module `traceback` in pyspark's daemon."""

    def print_exc(self, *arguments: Any, **more: Any) -> None:
        """Print what is wrong, unless it is that nobody reads any more."""
        if not isinstance(sys.exception(), (BrokenPipeError, ConnectionResetError)):
            traceback.print_exc(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)


def forgive_gone_readers() -> None:
    """Let this Python worker of Spark's end without a word where its reader has gone."""
    daemon = sys.modules["__main__"]
    name = getattr(getattr(daemon, "__spec__", None), "name", None)
    if name == "pyspark.daemon" and getattr(daemon, "traceback", None) is traceback:
        daemon.traceback = _ForgivingTraceback()  # type: ignore[attr-defined]
