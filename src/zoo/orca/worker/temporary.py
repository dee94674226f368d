"""Where files lie that nobody needs for long: a job's rows, and what a child leaves behind.

A child's user code and framework write temporary files, and a child ends without their clean-up:
it may be deep inside the framework when its task is gone. So it has a directory of its own, which
goes with it: whoever notices the end first removes it, the task or the child itself.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

#: Tells a child which directory is its own.
OWN_DIRECTORY = "ZOO_ORCA_TEMPORARY"
#: Characters that sockets in a temporary directory may have for a name: Linux has 107 in all, and
#: multiprocessing takes 32 behind its directory.
_LONGEST = 75


def local_directory() -> str:
    """Return the directory Spark gives this executor for temporary files, or the system's."""
    for path in os.environ.get("SPARK_LOCAL_DIRS", "").split(","):
        if path and os.access(path, os.W_OK):
            return path
    return tempfile.gettempdir()


def make_directory() -> str:
    """Return a new directory for one child's temporary files."""
    name = f"orcachild-{secrets.token_hex(6)}"
    path = os.path.join(local_directory(), name)
    if len(path) > _LONGEST:
        path = os.path.join(tempfile.gettempdir(), name)
    os.mkdir(path, mode=0o700)
    return path


def environment(directory: str) -> dict[str, str]:
    """Return the variables by which a child finds its directory, and all that it runs."""
    return {"TMPDIR": directory, OWN_DIRECTORY: directory}


def remove_directory(path: str) -> None:
    """Remove a directory that may be gone already."""
    if path:
        shutil.rmtree(path, ignore_errors=True)


def remove_files(path: str) -> None:
    """Remove the files that a job has left in a child's directory.

    Directories stay as long as the child: a library may keep what it has compiled in one, and find
    it there in the next job.
    """
    if not path:
        return
    with contextlib.suppress(OSError):  # the user's code may have done anything to it
        for entry in Path(path).iterdir():
            if not entry.is_dir() or entry.is_symlink():
                entry.unlink(missing_ok=True)
