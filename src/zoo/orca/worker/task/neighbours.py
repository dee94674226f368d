"""The Python workers of one daemon of Spark's, which give each other idle children.

Each listens on a socket whose name tells the others. It has no file: Spark may kill the process at
any time, and nothing may be left. Linux alone has such names. The kernel says of both ends whose
processes they are, so no other user of the machine gives or gets anything.
"""

import array
import contextlib
import errno
import os
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from zoo.orca.errors import OrcaError
from zoo.orca.wire.messages.codec import MessageError
from zoo.orca.wire.messages.neighbours import ANSWERS, WANTED, ChildWanted, Given, NotGiven
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.forks import let_go, not_in_forks
from zoo.orca.worker.task.handing import Adopted, Handed
from zoo.orca.worker.task.starting import Running
from zoo.orca.worker.task.threads import Threads

_BOUND = Path("/proc/net/unix")
_PIPES = 5
#: Seconds for one answer, and for those of all neighbours together.
_ANSWER_SECONDS = 5.0
#: Seconds for a question: who asks says it at once, and others are waiting.
_QUESTION_SECONDS = 1.0
#: Bytes that a message may have at most: the variables of a child, above all.
_MOST_BYTES = 16 << 20
#: Seconds until a door that could not be opened for a caller (too many files) is tried again.
_AGAIN_SECONDS = 0.1
_OWNER = struct.Struct("3i")


class Neighbours:
    """The door of this process, and the way to those of others.

    Parameters
    ----------
    alike : str
        Tells processes that are alike from others.
    give : callable
        Returns an idle child that suits, if there is one.
    given : callable
        Is told when the other process has it.

    Attributes
    ----------
    name : str
        Its door's; empty if it has none.
    """

    def __init__(
        self,
        alike: str,
        give: Callable[[dict[str, str], Threads], Handed | NotGiven],
        given: Callable[[], None],
    ) -> None:
        self._give, self._given = give, given
        self._room, self.name = "", ""
        self._door: socket.socket | None = None
        # Without a door the job runs as well: it starts a child of its own.
        with contextlib.suppress(OSError, OrcaError, AttributeError, RuntimeError):
            os.close(os.pidfd_open(os.getpid()))  # older kernels have none
            room = f"orca-children/{sha256(alike.encode()).hexdigest()[:24]}"
            own = f"{room}/{secrets.token_hex(6)}"
            with contextlib.ExitStack() as opened:
                door = opened.enter_context(socket.socket(socket.AF_UNIX))
                door.bind(f"\0{own}")
                door.listen()
                threading.Thread(target=self._serve, args=(door,), daemon=True).start()
                opened.pop_all()
            self._room, self.name, self._door = room, own, door
            not_in_forks(self)

    def forked(self) -> None:
        """Let go of the door, in a fork of this process."""
        if self._door is not None and self._door.fileno() >= 0:
            let_go([self._door.fileno()])
        self._door, self.name = None, ""

    def ask(
        self, wanted: ChildWanted, arrived: Callable[[Child], None]
    ) -> Child | dict[str, NotGiven]:
        """Return an idle child of a neighbour's, or what each of them says.

        `arrived` is called with the child while it still counts as on its way.
        """
        answers = {}
        until = time.monotonic() + _ANSWER_SECONDS
        for name in self._others():
            with contextlib.suppress(OSError, OrcaError):  # it has just ended
                answer = _asked(name, wanted, arrived, until)
                if isinstance(answer, Child):
                    return answer
                answers[name] = answer
        return answers

    def _others(self) -> list[str]:
        if not self._room:
            return []
        try:
            bound = _BOUND.read_text()
        except OSError:
            return []
        names = set(re.findall(rf"@({self._room}/\w+)$", bound, re.MULTILINE))
        return sorted(names - {self.name})

    def close(self) -> None:
        """Close the door."""
        if self._door is not None:
            with self._door:
                self._door.shutdown(socket.SHUT_RDWR)  # ends the thread's wait

    def _serve(self, door: socket.socket) -> None:
        with door:  # whatever ends this thread: nobody shall wait before a door without anyone
            while True:
                try:
                    line, _ = door.accept()  # no limit: a thread of its own, until it is closed
                except OSError as error:
                    if error.errno in (errno.EBADF, errno.EINVAL):
                        return
                    time.sleep(_AGAIN_SECONDS)
                    continue
                with line, contextlib.suppress(OSError, OrcaError):  # who asks can start its own
                    _check_owner(line)
                    self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        wanted = WANTED.read(_reader(line, time.monotonic() + _QUESTION_SECONDS))
        if wanted is None:
            return
        line.settimeout(_ANSWER_SECONDS)
        threads = Threads(count=wanted.fewest, fewest=wanted.fewest, most=wanted.most)
        handed = self._give(wanted.environment, threads)
        if isinstance(handed, NotGiven):
            line.sendall(handed.to_bytes())
            return
        try:
            given = Given(
                process=handed.process, threads=handed.threads, temporary=handed.temporary
            )
            line.sendall(given.to_bytes())
            socket.send_fds(line, [b"\0"], handed.pipes)
        finally:
            # A child whose pipes have not arrived ends, because no process has them any more.
            for pipe in handed.pipes:
                os.close(pipe)
            try:
                line.recv(1)  # the end: it has arrived
            finally:
                self._given()


def taken_at(name: str, wanted: ChildWanted, seconds: float) -> Child | None:
    """Return the child of the process that has a door of that name, if it has one for this one."""
    with contextlib.suppress(OSError, OrcaError, AttributeError):
        answer = _asked(name, wanted, lambda child: None, time.monotonic() + seconds)
        return answer if isinstance(answer, Child) else None
    return None


def _asked(
    name: str, wanted: ChildWanted, arrived: Callable[[Child], None], until: float
) -> Child | NotGiven:
    """Return a neighbour's child, or what it says."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_left(until))
        line.connect(f"\0{name}")
        _check_owner(line)
        line.sendall(wanted.to_bytes())
        answer = ANSWERS.read(_reader(line, until))
        if answer is None:
            raise ConnectionResetError("it has ended")
        if isinstance(answer, NotGiven):
            return answer
        line.settimeout(_left(until))
        child = _adopted(answer, _pipes(line), wanted)
        if not child.alive:
            child.stop()
            raise ConnectionResetError("its child has ended on the way")
        arrived(child)
    return child


def _pipes(line: socket.socket) -> list[int]:
    """Return the file descriptors that a child comes with.

    Raises
    ------
    ConnectionResetError
        If not all have come: the other one has ended, or this process has too many files.
    """
    # Not `recv_fds`, whose descriptors go on to programs that this process starts.
    room = socket.CMSG_LEN(_PIPES * array.array("i").itemsize)
    _, told, _, _ = line.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    if len(found) != _PIPES:
        for pipe in found:
            os.close(pipe)
        raise ConnectionResetError(f"{len(found)} of {_PIPES} pipes have come")
    return list(found)


def _adopted(given: Given, pipes: list[int], wanted: ChildWanted) -> Child:
    commands, results, log, told, handle = pipes
    with contextlib.ExitStack() as opened:
        for pipe in pipes:
            opened.callback(os.close, pipe)
        line = socket.socket(fileno=told)
        opened.pop_all()
    running = Running(
        process=Adopted(given.process, line, handle),
        commands=cast("BinaryIO", os.fdopen(commands, "wb")),
        results=os.fdopen(results, "rb"),
        log=os.fdopen(log, "rb"),
        temporary=given.temporary,
    )
    threads = Threads(count=given.threads, fewest=given.threads, most=given.threads)
    return Child(wanted.environment, threads, running)


def _check_owner(line: socket.socket) -> None:
    """Raise `PermissionError` unless the other end is a process of the same user."""
    raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _OWNER.size)
    if _OWNER.unpack(raw)[1] != os.geteuid():
        raise PermissionError("another user's process")


def _left(until: float) -> float:
    """Return the seconds until then; raise `TimeoutError` if there are none."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("it has not answered in time")
    return left


def _reader(line: socket.socket, until: float) -> Callable[[int], bytes]:
    """Return what reads bytes, all of them within a limit, however few come at once."""

    def read(count: int) -> bytes:
        if count > _MOST_BYTES:
            raise MessageError(f"a message of {count} bytes")
        found = bytearray()
        while len(found) < count:
            line.settimeout(_left(until))
            piece = line.recv(count - len(found))
            if not piece:
                break
            found += piece
        return bytes(found)

    return read
