"""A child that goes from one Python worker to another of the same executor.

Its pipes go through a socket of the kernel's, so no byte of a job takes another way than before.
How a process has ended is told only to the one that started it. That one waits for the end, and
tells it through a socket that goes along with the pipes.
"""

import contextlib
import os
import select
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

from zoo.orca.worker.task.starting import Process
from zoo.orca.worker.temporary import remove_directory

#: The exit code of a process whose end nobody was left to see.
UNKNOWN = 1 << 16
_CODE = struct.Struct("<i")
#: Seconds from the end of a process until the one that started it has told its exit code.
_TOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A child that nobody reads from and writes to any more in this process.

    Parameters
    ----------
    process : int
    threads : int
        How many it was started with.
    temporary : str
        Its directory for temporary files.
    pipes : tuple of int
        File descriptors: commands, results, log, the socket that tells its exit code, its handle.
    """

    process: int
    threads: int
    temporary: str
    pipes: tuple[int, ...]


class Adopted:
    """A process that another one has started; implements `Process`.

    Parameters
    ----------
    pid : int
    told : socket
        Tells its exit code.
    handle : int
        A file descriptor of the process. Its number alone may be another process's once it has
        ended.
    """

    def __init__(self, pid: int, told: socket.socket, handle: int) -> None:
        self._pid, self._told = pid, told
        self._code: int | None = None
        self._handle = os.fdopen(handle, "rb", buffering=0)
        # Several threads of a task may see the end, and only one of them is told how it came.
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._pid

    def give_up(self) -> tuple[int, int]:
        """Return the socket that tells its exit code, and its handle, to another process."""
        self._code = UNKNOWN
        handle = os.dup(self._handle.fileno())
        self._handle.close()
        return self._told.detach(), handle

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended, else None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise `subprocess.TimeoutExpired` if it is still there."""
        until = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired("a child", timeout or 0)
        try:
            if self._code is None:
                left = None if until is None else max(0.0, 1000 * (until - time.monotonic()))
                ended = select.poll()
                ended.register(self._handle, select.POLLIN)
                if not ended.poll(left):
                    raise subprocess.TimeoutExpired("a child", timeout or 0)
                self._code = self._told_code()
                self._handle.close()
            return self._code
        finally:
            self._lock.release()

    def _told_code(self) -> int:
        told = b""
        with self._told, contextlib.suppress(OSError):
            self._told.settimeout(_TOLD_SECONDS)
            told = self._told.recv(_CODE.size)
        return int(_CODE.unpack(told)[0]) if len(told) == _CODE.size else UNKNOWN


def end_told_by(process: Process, directory: str) -> tuple[int, int]:
    """Return file descriptors: a socket that tells a process's exit code, and its handle.

    This process waits for the end of one that it has started. It then removes the directory,
    because whoever has the process by then may have ended with it.

    Raises
    ------
    OSError, RuntimeError
        If there are too many files or threads.
    """
    if isinstance(process, Adopted):
        return process.give_up()
    handle = os.pidfd_open(process.pid)
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        os.close(handle)
        raise

    def tell() -> None:
        code = process.wait()  # no limit: a thread of its own, which ends with the child
        with ours, contextlib.suppress(OSError):  # nobody asks any more
            ours.sendall(_CODE.pack(code))
        remove_directory(directory)

    try:
        threading.Thread(target=tell, daemon=True).start()
    except RuntimeError:
        os.close(handle)
        ours.close()
        theirs.close()
        raise
    return theirs.detach(), handle
