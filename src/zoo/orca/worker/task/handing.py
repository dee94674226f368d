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
from dataclasses import dataclass

from zoo.orca.worker.task.starting import Process

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
        File descriptors: commands, results, log, and the socket that tells its exit code.
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
    """

    def __init__(self, pid: int, told: socket.socket) -> None:
        self._pid, self._told = pid, told
        self._code: int | None = None
        # Its number alone may be another process's once it has ended.
        self._handle = os.fdopen(os.pidfd_open(pid), "rb", buffering=0)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._pid

    def give_up(self) -> int:
        """Return the file descriptor of the socket that tells its exit code, to another process."""
        self._handle.close()
        self._code = UNKNOWN
        return self._told.detach()

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended, else None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise `subprocess.TimeoutExpired` if it is still there."""
        if self._code is None:
            ended = select.poll()
            ended.register(self._handle, select.POLLIN)
            if not ended.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired("a child", timeout or 0)
            self._code = self._told_code()
            self._handle.close()
        return self._code

    def _told_code(self) -> int:
        told = b""
        with self._told, contextlib.suppress(OSError):
            self._told.settimeout(_TOLD_SECONDS)
            told = self._told.recv(_CODE.size)
        return int(_CODE.unpack(told)[0]) if len(told) == _CODE.size else UNKNOWN


def end_told_by(process: Process) -> int:
    """Return the file descriptor of a socket that tells a process's exit code when it has ended."""
    if isinstance(process, Adopted):
        return process.give_up()
    ours, theirs = socket.socketpair()

    def tell() -> None:
        code = process.wait()  # no limit: a thread of its own, which ends with the child
        with ours, contextlib.suppress(OSError):  # nobody asks any more
            ours.sendall(_CODE.pack(code))

    threading.Thread(target=tell, daemon=True).start()
    return theirs.detach()
