"""Whether this process is the program, or one of the workers that it started.

A worker has no session and must not start one. A package may import the user's script by its name:
the script would then run again in the worker, start Spark inside Spark, and never end.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from zoo.orca.errors import ContextError

#: Set in the environment of workers' children, and of all that they start.
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
    # Over Spark Connect, foreachBatch's function runs in a Python worker too, but has a session.
    is_sparks = os.environ.get("SPARK_PYTHON_RUNTIME") == "PYTHON_WORKER"
    return WORKER in os.environ or (is_sparks and "SPARK_CONNECT_LOCAL_URL" not in os.environ)


def _running_module() -> tuple[str, str] | None:
    """Return the file and name of the module whose import leads here, if one does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            name = str(frame.f_globals.get("__name__"))
            return None if name == "__main__" else (frame.f_code.co_filename, name)
        frame = frame.f_back
    return None


def is_found(file: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether every process of this Python finds the package of a module of this directory.

    It does if the package is installed, or in a directory of PYTHONPATH; not if this program alone
    has changed its ``sys.path``.
    """
    given = filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))
    places = {Path(one).absolute() for one in (*site.getsitepackages(), *given)}
    return Path(file).absolute().parents[3] in places
