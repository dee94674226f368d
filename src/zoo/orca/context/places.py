"""Whether this process is the program, or one of the workers that it has started.

A worker has no session, and must not start one: a user's script that a package imports by its name
would otherwise run there a second time, start Spark inside Spark, and never come to an end.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

from zoo.orca.errors import ContextError

#: The variable that is set in the children of workers, and in whatever they start.
WORKER = "ZOO_ORCA_WORKER"


def refuse_in_worker() -> None:
    """Raise `ContextError` in a worker's process."""
    if not _is_worker():
        return
    again = _running_module()
    if again is not None:
        file, name = again
        raise ContextError(
            f"{file} runs a second time, inside a worker, because something there imports {name!r}"
            "\nRename the file if a package has that name, or put its program below "
            'if __name__ == "__main__":'
        )
    raise ContextError(
        "there is no Spark session inside a worker, where model creators, callbacks and Python "
        "functions of DataFrames run\nRead what they need before, and hand it over in config"
    )


def _is_worker() -> bool:
    # A function of foreachBatch over Spark Connect runs in such a process too, with a session.
    is_sparks = os.environ.get("SPARK_PYTHON_RUNTIME") == "PYTHON_WORKER"
    return WORKER in os.environ or (is_sparks and "SPARK_CONNECT_LOCAL_URL" not in os.environ)


def _running_module() -> tuple[str, str] | None:
    """Return the file and the name of the module whose import has called, if one has."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = str(frame.f_globals.get("__name__"))
            return None if name == "__main__" else (frame.f_code.co_filename, name)
        frame = frame.f_back
    return None
