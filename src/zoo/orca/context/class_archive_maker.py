"""Makes one archive of classes: the program that runs after a driver has ended.

It is started by its path and imports nothing from the package. It may be killed at any moment: the
archive gets its name only when it is whole.
"""

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# A program that has sent rows to workers lists this class. Other lists have half of the classes.
_NEEDED: Final = "org/apache/spark/sql/execution/python/MapInArrowExec"
_JVM_ENDS_WITHIN: Final = 60.0
_MADE_WITHIN: Final = 1800.0
#: An older lock was left by a maker that was killed.
_LOCKED_WITHIN: Final = _MADE_WITHIN + 120.0


def failure_of(archive: Path) -> Path:
    """Return the file that says why an archive cannot be made."""
    return archive.with_suffix(".failed")


def make_archive(archive: Path, classes: Path, java: Path, class_path: str, jvm: int) -> None:
    """Make an archive of the classes that a JVM listed, once that JVM has ended.

    Parameters
    ----------
    archive : Path
        What to make.
    classes : Path
        The JVM's list of classes; removed.
    java : Path
        The executable.
    class_path : str
        The JVM's class path.
    jvm : int
        Its process id.
    """
    try:
        if not _ends(jvm) or _NEEDED not in classes.read_text():
            return
        with _alone(archive) as alone:
            if alone and not archive.exists():
                _dump(archive, classes, java, class_path)
    finally:
        classes.unlink(missing_ok=True)


def _ends(process: int) -> bool:
    """Wait for the end of a process that is not our child; False if it keeps running."""
    deadline = time.monotonic() + _JVM_ENDS_WITHIN
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except OSError:
            return True
        time.sleep(0.2)
    return False


def is_locked(archive: Path) -> bool:
    """Whether a process is making this archive, on any host that shares the directory."""
    try:
        return time.time() - _lock_of(archive).stat().st_mtime < _LOCKED_WITHIN
    except OSError:
        return False


@contextlib.contextmanager
def _alone(archive: Path) -> Iterator[bool]:
    """Take the lock of an archive for the block; yield False if another process holds it.

    A file that only one process can create is a lock even in a home that several hosts share.
    """
    alone = _locked(archive)
    try:
        yield alone
    finally:
        if alone:
            _lock_of(archive).unlink(missing_ok=True)


def _locked(archive: Path) -> bool:
    """Create the lock; return whether this process created it."""
    lock = _lock_of(archive)
    if lock.exists() and not is_locked(archive):
        # Two processes may find it stale. Each moves a file away, but only one creates the next.
        left = lock.with_suffix(f".{uuid.uuid4().hex}.lock")
        with contextlib.suppress(FileNotFoundError):
            lock.rename(left)
            if time.time() - left.stat().st_mtime < _LOCKED_WITHIN:
                # Another process did both first, and this is its new lock.
                left.rename(lock)
                return False
            left.unlink()
    try:
        lock.touch(exist_ok=False)
    except OSError:  # it is there, or cannot be made
        return False
    return True


def _lock_of(archive: Path) -> Path:
    return archive.with_suffix(".lock")


def _dump(archive: Path, classes: Path, java: Path, class_path: str) -> None:
    """Let Java write the archive; note a failure."""
    part = archive.with_suffix(f".{uuid.uuid4().hex}.part")
    command = [str(java), "-Xshare:dump", "-Xlog:disable", "-Xlog:all=error:stderr"]
    command += [f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={part}"]
    try:
        ended = subprocess.run(
            [*command, "-cp", class_path], capture_output=True, text=True, timeout=_MADE_WITHIN
        )
        if ended.returncode == 0:
            part.replace(archive)
        elif ended.returncode > 0:  # it was not killed, and would say the same again
            failure_of(archive).write_text(ended.stdout + ended.stderr)
    except subprocess.TimeoutExpired:
        pass  # the machine was too busy; another attempt may succeed
    except OSError as error:
        failure_of(archive).write_text(str(error))
    finally:
        part.unlink(missing_ok=True)


def _give_way() -> None:
    """Run only when a processor is idle.

    Linux weighs processes within their session's group (see sched(7), "the autogroup feature").
    In a session of its own, this process would otherwise get as much as the user's next program.
    """
    os.nice(19)
    with contextlib.suppress(OSError):  # not Linux, or without such groups
        Path("/proc/self/autogroup").write_text("19")


if __name__ == "__main__":
    _give_way()
    make_archive(
        Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    )
