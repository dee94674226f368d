"""Where short-lived files lie: a job's rows, and what a child leaves behind.

User code and frameworks write temporary files in a child. A child ends without cleaning up, because
it may be deep inside the framework when its task is gone. So it has its own directory. The task or
the child removes it, whichever notices the end first.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from zoo.orca.worker.rows.files import writing

#: Names the child's own directory.
OWN_DIRECTORY = "ZOO_ORCA_TEMPORARY"
#: Characters that a socket's name in a temporary directory may have. Linux allows 107 in all, and
#: multiprocessing appends 32 to its directory.
_LONGEST = 75


def local_directory(variables: Mapping[str, str] = os.environ) -> str:
    """Return Spark's directory for temporary files on this executor, or the system's."""
    told = variables.get("SPARK_LOCAL_DIRS", "")
    for path in told.split(","):
        if path and os.access(path, os.W_OK):
            return path
    with writing(told or "/tmp"):
        return tempfile.gettempdir()


def make_directory(variables: Mapping[str, str] = os.environ) -> str:
    """Return a new directory for one child's temporary files; the variables name Spark's."""
    name = f"orcachild-{secrets.token_hex(6)}"
    path = os.path.join(local_directory(variables), name)
    if len(path) > _LONGEST:
        path = os.path.join(tempfile.gettempdir(), name)
    with writing(os.path.dirname(path)):
        os.mkdir(path, mode=0o700)
    return path


def environment(directory: str) -> dict[str, str]:
    """Return the variables that name the directory to a child and its subprocesses."""
    return {"TMPDIR": directory, OWN_DIRECTORY: directory}


def remove_directory(path: str) -> None:
    """Remove a directory that may be gone already."""
    if path:
        shutil.rmtree(path, ignore_errors=True)


def remove_files(path: str) -> None:
    """Remove the files that a job has left in a child's directory.

    Directories stay as long as the child, because a library may cache compiled code there for the
    next job.
    """
    if not path:
        return
    with contextlib.suppress(OSError):  # user code may have done anything to it
        for entry in Path(path).iterdir():
            if not entry.is_dir() or entry.is_symlink():
                entry.unlink(missing_ok=True)
