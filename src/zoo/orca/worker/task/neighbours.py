"""The Python workers of one daemon of Spark's, which give each other idle children.

Each listens on a socket whose name tells the others. It has no file: Spark may kill the process at
any time, and nothing may be left. Linux alone has such names. The kernel says of both ends whose
processes they are, so no other user of the machine gives or gets anything.
"""

import contextlib
import os
import re
import secrets
import socket
import struct
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from zoo.orca.errors import OrcaError
from zoo.orca.wire.messages.neighbours import ANSWERS, WANTED, ChildWanted, Given, NotGiven
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.handing import Adopted, Handed
from zoo.orca.worker.task.starting import Running
from zoo.orca.worker.task.threads import Threads

_BOUND = Path("/proc/net/unix")
_PIPES = 4
_ANSWER_SECONDS = 5.0
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
        with contextlib.suppress(OSError, OrcaError, AttributeError):
            os.close(os.pidfd_open(os.getpid()))  # older kernels have none
            room = f"orca-children/{sha256(alike.encode()).hexdigest()[:24]}"
            own = f"{room}/{secrets.token_hex(6)}"
            door = socket.socket(socket.AF_UNIX)
            door.bind(f"\0{own}")
            door.listen()
            self._room, self.name, self._door = room, own, door
            threading.Thread(target=self._serve, args=(door,), daemon=True).start()

    def ask(
        self, wanted: ChildWanted, arrived: Callable[[Child], None]
    ) -> Child | dict[str, NotGiven]:
        """Return an idle child of a neighbour's, or what each of them says.

        `arrived` is called with the child while it still counts as on its way.
        """
        answers = {}
        for name in self._others():
            with contextlib.suppress(OSError, OrcaError):  # it has just ended
                answer = _asked(name, wanted, arrived, _ANSWER_SECONDS)
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
        while True:
            try:
                line, _ = door.accept()  # no limit: a thread of its own, until the door is closed
            except OSError:
                return
            with line, contextlib.suppress(OSError, OrcaError):  # whoever asks can start its own
                line.settimeout(_ANSWER_SECONDS)
                _check_owner(line)
                self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        wanted = WANTED.read(_reader(line))
        if wanted is None:
            return
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
        answer = _asked(name, wanted, lambda child: None, seconds)
        return answer if isinstance(answer, Child) else None
    return None


def _asked(
    name: str, wanted: ChildWanted, arrived: Callable[[Child], None], seconds: float
) -> Child | NotGiven:
    """Return a neighbour's child, or what it says."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(seconds)
        line.connect(f"\0{name}")
        _check_owner(line)
        line.sendall(wanted.to_bytes())
        answer = ANSWERS.read(_reader(line))
        if answer is None:
            raise ConnectionResetError("it has ended")
        if isinstance(answer, NotGiven):
            return answer
        pipes = socket.recv_fds(line, 1, _PIPES)[1]
        child = _adopted(answer, pipes, wanted)
        arrived(child)
    return child


def _adopted(given: Given, pipes: list[int], wanted: ChildWanted) -> Child:
    with contextlib.ExitStack() as opened:
        commands, results, log, told = pipes
        streams = [
            cast("BinaryIO", opened.enter_context(os.fdopen(pipe, mode)))
            for pipe, mode in ((commands, "wb"), (results, "rb"), (log, "rb"))
        ]
        line = opened.enter_context(socket.socket(fileno=told))
        running = Running(
            process=Adopted(given.process, line),
            commands=streams[0],
            results=streams[1],
            log=streams[2],
            temporary=given.temporary,
        )
        opened.pop_all()
    threads = Threads(count=given.threads, fewest=given.threads, most=given.threads)
    return Child(wanted.environment, threads, running)


def _check_owner(line: socket.socket) -> None:
    """Raise `PermissionError` unless the other end is a process of the same user."""
    raw = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _OWNER.size)
    if _OWNER.unpack(raw)[1] != os.geteuid():
        raise PermissionError("another user's process")


def _reader(line: socket.socket) -> Callable[[int], bytes]:
    def read(count: int) -> bytes:
        found = bytearray()
        while len(found) < count and (piece := line.recv(count - len(found))):
            found += piece
        return bytes(found)

    return read
