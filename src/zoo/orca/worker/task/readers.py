"""A task whose reader is gone: it wants no more rows, and that is not an error.

An action like ``limit(5)`` ends a task between two batches, and so does cancelling a job. Spark
then closes its side of the socket. pyspark's daemon, which forks the Python workers, prints a
traceback on the program's terminal when a worker cannot flush its buffer. The worker ends either
way.
"""

import sys
import traceback
from typing import Any


class _ForgivingTraceback:
    """Replaces the module `traceback` in pyspark's daemon."""

    def print_exc(self, *arguments: Any, **more: Any) -> None:
        """Print the traceback, unless the error is that the reader is gone."""
        if not isinstance(sys.exception(), (BrokenPipeError, ConnectionResetError)):
            traceback.print_exc(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)


def forgive_gone_readers() -> None:
    """Let this Spark Python worker end silently if its reader is gone."""
    # Orca's daemon has imported pyspark's, which elsewhere is the program.
    daemon = sys.modules.get("pyspark.daemon", sys.modules["__main__"])
    name = getattr(getattr(daemon, "__spec__", None), "name", None)
    if name == "pyspark.daemon" and getattr(daemon, "traceback", None) is traceback:
        daemon.traceback = _ForgivingTraceback()  # type: ignore[attr-defined]
