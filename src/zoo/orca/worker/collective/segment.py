"""Memory that the ranks of one host share, and how they agree on it.

Each rank makes a segment: an anonymous file in memory, and a pipe as its bell. It sends their
places in ``/proc`` to the others over the authenticated links, and every rank opens all segments.
The kernel permits this only to processes of the same user. Nothing has a name in a file system, so
nothing stays behind, however a process ends.

Equal addresses do not prove that ranks share a host, because containers may share addresses. A rank
that finds a peer's secret token in the place the peer named has found the peer's memory.

::

    words     which publication is in, whether this rank sleeps, headers    4 KiB
    half 0    data of the even publications                                 2 MiB
    half 1    data of the odd ones                                          2 MiB

The size is fixed. Larger data passes through in pieces that stay in the processor's cache. All the
memory is reserved at the start, because writing to missing memory later is a SIGBUS.
"""

import contextlib
import json
import logging
import mmap
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from zoo.orca.worker.collective.headers import HEADER_BYTES
from zoo.orca.worker.collective.protocol import Buffer

_log = logging.getLogger(__name__)

#: What one publication can carry. Measured: with smaller pieces, ranks wait more often.
HALF_BYTES: Final = 2 << 20
#: Positions of 8-byte words, each in its own cache line. One counts the publications. The other
#: holds the rank that this one sleeps for plus one, or 0 while it is awake.
TURN: Final = 8
ASLEEP: Final = 16
_HEADERS_AT: Final = (192, 256)
_WORDS_BYTES: Final = 4096
_SIZE: Final = _WORDS_BYTES + 2 * HALF_BYTES
_TOKEN_BYTES: Final = 32
_YES: Final = b"yes"
_NOTHING: Final = memoryview(b"")


class Segment:
    """One rank's memory and bell, its own or a peer's, mapped into this process.

    Parameters
    ----------
    memory : int
        The file's descriptor. The segment closes all its descriptors, even if this fails.
    bell : int
        Descriptor of the pipe's write end.
    ear : int
        Descriptor of the pipe's read end; -1 for a peer's.
    """

    def __init__(self, memory: int, bell: int, ear: int = -1) -> None:
        self.ear = ear
        self.words = self.token = _NOTHING
        self.headers: list[memoryview] = []
        self.halves: list[memoryview] = []
        self._memory, self._bell = memory, bell
        try:
            whole = memoryview(mmap.mmap(memory, _SIZE))
        except (OSError, ValueError) as error:
            self.close()
            raise OSError(f"cannot map {_SIZE} bytes: {error}") from error
        self.token = whole[:_TOKEN_BYTES]
        self.words = whole[:_WORDS_BYTES].cast("Q")
        self.headers = [whole[at : at + HEADER_BYTES] for at in _HEADERS_AT]
        self.halves = [whole[at : at + HALF_BYTES] for at in (_WORDS_BYTES, _SIZE - HALF_BYTES)]

    @classmethod
    def create(cls) -> "Segment":
        """Return a new segment for this process.

        Raises
        ------
        OSError
            This host has no such memory, or too little.
        """
        memory = _anonymous_file()
        try:
            os.fchmod(memory, 0o600)
            os.posix_fallocate(memory, 0, _SIZE)
            ear, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            os.close(memory)
            raise
        segment = cls(memory, bell, ear)
        segment.token[:] = secrets.token_bytes(_TOKEN_BYTES)
        return segment

    @classmethod
    def open(cls, offer: bytes) -> "Segment":
        """Return the segment that a peer offers.

        Raises
        ------
        OSError
            The segment is not on this host, or not for this user.
        """
        told = json.loads(offer)
        memory = _open_place(told["pid"], told["memory"], os.O_RDWR)
        try:
            bell = _open_place(told["pid"], told["bell"], os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            os.close(memory)
            raise
        segment = cls(memory, bell)
        if segment.token.hex() != told["token"]:
            segment.close()
            raise OSError("another program's memory is in the place that the peer named")
        return segment

    def offer(self) -> bytes:
        """Return what a peer needs to open this process's segment; a secret of the ring."""
        places = {"memory": _place(self._memory), "bell": _place(self._bell)}
        return json.dumps({"pid": os.getpid(), "token": self.token.hex(), **places}).encode()

    def ring(self) -> None:
        """Wake the rank that owns this segment."""
        # A full pipe wakes the rank, too. Its link tells whether it is still there.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._bell, b"!")

    def hush(self) -> None:
        """Clear all rings of the bell."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.ear, mmap.PAGESIZE)

    def close(self) -> None:
        """Release everything; the memory goes with its last view. May be repeated."""
        self.words = self.token = _NOTHING
        self.headers, self.halves = [], []
        for fd in (self._memory, self._bell, self.ear):
            if fd >= 0:
                os.close(fd)
        self._memory = self._bell = self.ear = -1


def agree(
    rank: int,
    together: Sequence[int],
    all_gather: Callable[[bytes], Sequence[Buffer]],
    *,
    willing: bool,
) -> dict[int, Segment]:
    """Return the segments of the ranks of one host, or none at all; called on all ranks.

    Parameters
    ----------
    rank : int
    together : sequence of int
        The ranks that seem to be on this rank's host, it among them, in order.
    all_gather : callable
        Exchanges a few bytes between all ranks, in secret.
    willing : bool
        Whether this rank wants to share memory. Either all ranks get segments, or none does.
    """
    with contextlib.ExitStack() as unless_agreed:
        mine = _create(unless_agreed) if willing else None
        offers = all_gather(mine.offer() if mine else b"")
        segments: dict[int, Segment] = {}
        if mine is not None and all(map(len, offers)):
            theirs = {number: offers[number] for number in together}
            segments = _open_others(mine, rank, theirs, unless_agreed)
        answers = all_gather(_YES if segments else b"no")
        if not all(bytes(answer) == _YES for answer in answers):
            return {}
        unless_agreed.pop_all()
        return segments


def _create(unless_agreed: contextlib.ExitStack) -> Segment | None:
    try:
        mine = Segment.create()
    except OSError as error:
        _log.debug("no memory to share between workers, they use sockets: %s", error)
        return None
    unless_agreed.callback(mine.close)
    return mine


def _open_others(
    mine: Segment, rank: int, offers: Mapping[int, Buffer], unless_agreed: contextlib.ExitStack
) -> dict[int, Segment]:
    segments = {}
    for number, offer in offers.items():
        if number == rank:
            segments[number] = mine
            continue
        try:
            opened = segments[number] = Segment.open(bytes(offer))
        except OSError as error:
            _log.debug("no memory shared with rank %d, all use sockets: %s", number, error)
            return {}
        unless_agreed.callback(opened.close)
    return segments


def _anonymous_file() -> int:
    """Return the descriptor of a file in memory that has no name."""
    # Some builds of Python lack memfd_create, though the kernel has it.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("orca", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile(dir="/dev/shm", buffering=0) as file:
        return os.dup(file.fileno())


def _place(fd: int) -> tuple[int, int, int]:
    found = os.fstat(fd)
    return fd, found.st_dev, found.st_ino


def _open_place(pid: int, place: Sequence[int], flags: int) -> int:
    fd, device, inode = place
    path = f"/proc/{int(pid)}/fd/{int(fd)}"
    found = os.stat(path)
    # Checked before it is opened: that process number may belong to another container, with any
    # file there, and opening some devices has side effects.
    harmless = stat.S_ISREG(found.st_mode) or stat.S_ISFIFO(found.st_mode)
    if (found.st_dev, found.st_ino) != (device, inode) or not harmless:
        raise OSError(f"{path} is not what the peer named")
    return os.open(path, flags | os.O_CLOEXEC)
