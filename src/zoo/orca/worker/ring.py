"""The collective over TCP: one thread, non-blocking sockets, numpy.

Every operation begins with a header from every rank to every other one: which operation, which
one in the sequence, how long. So calls that do not match are an error on both sides at once, not a
hang or a wrong sum; and nobody sends more than `EAGER_BYTES` to a rank that has not shown up,
because its window must stay open (see `zoo.orca.worker.sockets`). Small data rides along with the
header: an all-reduce of it is one round trip.

========== ================ =====================================================================
data       all_reduce       broadcast
========== ================ =====================================================================
small      direct: all to all, summed in rank order on every rank     root to all
large      ring: reduce-scatter and all-gather in one pipelined stream, each sum made on one rank
           (broadcast: from rank to rank around the ring, passed on while it arrives)
========== ================ =====================================================================

Both make every rank's result bit-identical. `all_gather` is direct always: every byte must reach
every rank, and no way around the ring is shorter.

A failure closes all links, so that whoever waits for this rank learns of it at once.
"""

import os
import select
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import PeerLostError
from zoo.orca.worker import mesh
from zoo.orca.worker.collective import Buffer
from zoo.orca.worker.loop import LATER, MOVED, Loop, Task, pull, push, push_call
from zoo.orca.worker.sockets import EAGER_BYTES, Link, Listener, hosts_shared

_OPERATIONS: Final = ("close", "all_reduce", "all_gather", "broadcast", "barrier")
_HEADER: Final = struct.Struct("<BxHIQ")  # operation, detail, sequence, bytes
_HEADER_BYTES: Final = _HEADER.size
#: Up to so many bytes every rank sends all it has to every other one (two ranks, more ranks).
_DIRECT_BYTES: Final = (512 << 10, 128 << 10)
#: Bytes that are received, added and passed on at once: they stay in the processor's cache.
_SEGMENT_BYTES: Final = 128 << 10
_OPERATION_SECONDS: Final = 7200.0
_SPIN_SECONDS: Final = 50e-6
_GOODBYE_SECONDS: Final = 2.0
_NOTHING: Final = memoryview(b"")

_Result = TypeVar("_Result")


class Ring:
    """A fixed group of processes, connected each to each; made by :meth:`connect`.

    Operations must be called from one thread at a time; `close`, `abort` and `lost_peer` may be
    called from any.

    Attributes
    ----------
    timeout : float
        Seconds that one operation may take, the wait for the slowest rank included.
    """

    def __init__(self, rank: int, links: Sequence[Link], *, timeout: float, spin: bool) -> None:
        self.timeout = timeout
        self._rank = rank
        self._links = list(links)
        self._by_rank = {link.rank: link for link in self._links}
        self._headers = {link.rank: memoryview(bytearray(_HEADER_BYTES)) for link in self._links}
        self._loop = Loop(self._links, _SPIN_SECONDS if spin else 0.0)
        self._scratch = np.empty(_SEGMENT_BYTES, np.uint8)
        self._slots: dict[int, NDArray[np.uint8]] = {}
        self._slot_size = -1
        self._sequence = 0
        self._failure: PeerLostError | None = None
        # Held while the sockets are in use: nobody may close a descriptor that a thread polls.
        self._lock = threading.Lock()

    @classmethod
    def connect(
        cls,
        listener: Listener,
        rank: int,
        addresses: Sequence[tuple[str, int]],
        secret: bytes,
        *,
        timeout: float = 60.0,
        operation_timeout: float = _OPERATION_SECONDS,
    ) -> "Ring":
        """Connect to all other ranks; must be called on all ranks.

        The listener has done its work then, and is closed.

        Parameters
        ----------
        listener : Listener
            Whose address is ``addresses[rank]``.
        rank : int
        addresses : sequence of (host, port)
            Of all ranks, in rank order.
        secret : bytes
            Known to the ranks of this job only; at least 16 bytes.
        timeout : float
            Seconds to wait for the last peer.
        operation_timeout : float
            The ring's `timeout`.

        Raises
        ------
        PeerLostError
            A peer did not come in time, refuses connections, or does not know the secret.
        """
        try:
            links = mesh.connect(listener, rank, addresses, secret, timeout)
        finally:
            listener.close()
        # More waiting ranks than processors: spinning would keep the one that works off them.
        spin = hosts_shared(rank, addresses) <= (os.cpu_count() or 1)
        return cls(rank, links, timeout=operation_timeout, spin=spin)

    @property
    def rank(self) -> int:
        """This process's number, from 0 to ``size - 1``."""
        return self._rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return len(self._links) + 1

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Replace `array` on every rank by the sum over ranks; see :class:`Collective`.

        Raises
        ------
        ValueError
            `array` is not C-contiguous, not writable, or not of numbers in native byte order.
        PeerLostError
            A peer closed its connection, fell silent, or called another operation.
        """
        flat = _flat(array)
        limit = _DIRECT_BYTES[self.size > 2]
        algorithm = self._sum_directly if flat.nbytes <= limit else self._sum_around
        kind = ord(flat.dtype.kind) << 8 | min(flat.dtype.itemsize, 255)
        self._operate("all_reduce", kind, flat.nbytes, lambda header: algorithm(header, flat))

    def all_gather(self, data: Buffer) -> Sequence[Buffer]:
        """Return every rank's `data` in rank order; lengths may differ. Called on all ranks."""
        view = memoryview(data).cast("B")

        def gather(header: bytes) -> Sequence[Buffer]:
            sizes = self._meet(header, self._links, view)
            gathered: dict[int, Buffer] = {rank: bytearray(size) for rank, size in sizes.items()}
            tasks = [push(link, view[EAGER_BYTES:]) for link in self._links]
            tasks += [pull(link, memoryview(gathered[link.rank])) for link in self._links]
            self._loop.run(tasks)
            return [gathered.get(rank, data) for rank in range(self.size)]

        return self._operate("all_gather", 0, len(view), gather)

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `root`'s `data` on every rank; the others pass None. Called on all ranks."""
        if not 0 <= root < self.size:
            raise ValueError(f"broadcast: root is a rank from 0 to {self.size - 1}, not {root}")
        if (data is None) == (root == self._rank):
            raise ValueError(f"broadcast: rank {root}, and it alone, passes data")
        if data is None:
            return self._operate("broadcast", root, 0, lambda header: self._take(header, root))
        view = memoryview(data).cast("B")
        self._operate("broadcast", root, len(view), lambda header: self._give(header, view))
        return data

    def barrier(self) -> None:
        """Return once every rank has called it."""
        self._operate("barrier", 0, 0, lambda header: self._meet(header))

    def lost_peer(self) -> PeerLostError | None:
        """Return why this ring has failed or will, None as far as is known; for other threads.

        While this rank computes, nothing else notices that a peer is gone.
        """
        if self._failure is None and self._lock.acquire(blocking=False):
            try:
                self._loop.look_for_lost()
            except PeerLostError as error:
                self._failure = error
            finally:
                self._release()
        return self._failure

    def abort(self, reason: str = "aborted by this process") -> None:
        """Make the operation under way, in whatever thread, and all later ones fail promptly.

        The other ranks learn that this one is lost.
        """
        if self._failure is None:
            self._failure = PeerLostError(f"rank {self._rank} left the ring: {reason}")
        for link in self._links:
            link.shut()
        if self._lock.acquire(blocking=False):
            self._release()

    def close(self) -> None:
        """Leave the ring and let go of the sockets; may be called more than once, by any rank.

        The peers' last operation ends well: what they still need is on its way to them. While
        another thread runs an operation this is :meth:`abort`.
        """
        if not self._lock.acquire(blocking=False):
            self.abort("closed by another thread of this process")
            return
        try:
            if self._failure is None:
                self._failure = PeerLostError(f"rank {self._rank} has closed this ring")
                goodbye = _HEADER.pack(0, 0, 0, 0)
                deadline = time.monotonic() + _GOODBYE_SECONDS
                for link in self._links:
                    # The last thing said: an end of the stream without it means a crash.
                    link.say_goodbye(goodbye, deadline)
        finally:
            self._release()

    def _operate(
        self, name: str, detail: int, length: int, run: Callable[[bytes], _Result]
    ) -> _Result:
        """Run one operation; whatever goes wrong in it is the end of the ring."""
        with_lock = self._lock
        with_lock.acquire()
        try:
            if self._failure is not None:
                raise self._failure
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            self._loop.begin(name, self.timeout)
            operation = _OPERATIONS.index(name)
            return run(_HEADER.pack(operation, detail, self._sequence, length))
        except BaseException as error:
            self._fail(error)
        finally:
            self._release()

    def _fail(self, error: BaseException) -> NoReturn:
        """Note the first failure for all later calls, and raise what this call ends with."""
        if self._failure is None:
            # Interrupted in mid-stream by Ctrl-C or no memory: where the next header begins is lost.
            self._failure = (
                error
                if isinstance(error, PeerLostError)
                else PeerLostError(f"rank {self._rank} left the ring: interrupted by {error!r}")
            )
        if isinstance(error, PeerLostError):
            raise self._failure.with_traceback(None) from error.__cause__
        raise error

    def _release(self) -> None:
        """Let go of the lock, and of the sockets if the ring has failed."""
        if self._failure is not None:
            for link in self._links:
                link.close()
        self._lock.release()

    def _meet(
        self, header: bytes, eager_to: Sequence[Link] = (), data: memoryview = _NOTHING
    ) -> dict[int, int]:
        """Exchange headers, some with the first of the data; return the others' lengths.

        From here on every rank is in this operation and reads: data may flow without a limit.
        """
        eager = data[:EAGER_BYTES]
        tasks = [push_call(k, header, eager if k in eager_to else _NOTHING) for k in self._links]
        tasks += [self._hear(k, header, self._headers[k.rank]) for k in self._links]
        self._loop.run(tasks)
        return {rank: _HEADER.unpack(theirs)[-1] for rank, theirs in self._headers.items()}

    def _hear(self, link: Link, header: bytes, view: memoryview) -> Task:
        """Fill `view` with the peer's header and maybe data; look at the header once it is there.

        At once, because a peer in another operation may never send as much as `view` waits for.
        """
        missing = view
        checked = False
        while missing:
            count = link.receive(missing)
            missing = missing[count:]
            if not checked and len(view) - len(missing) >= _HEADER_BYTES:
                _check(link, view[:_HEADER_BYTES], header)
                checked = True
            if missing:
                yield MOVED if count else (link, select.POLLIN)

    def _sum_directly(self, header: bytes, flat: NDArray[Any]) -> None:
        """Send all to all; add in rank order, so that every rank gets the same bits."""
        slots = self._slots_for(flat.nbytes)
        data = memoryview(flat.view(np.uint8))
        if flat.nbytes <= EAGER_BYTES:
            tasks = [push_call(link, header, data) for link in self._links]
            hear = [self._hear(k, header, memoryview(slots[k.rank])) for k in self._links]
            self._loop.run(tasks + hear)
        else:
            self._meet(header, self._links, data)
            tasks = [push(link, data[EAGER_BYTES:]) for link in self._links]
            pulls = [pull(k, memoryview(slots[k.rank])[_HEADER_BYTES:]) for k in self._links]
            self._loop.run(tasks + pulls)
        parts = [slots[link.rank][_HEADER_BYTES:].view(flat.dtype) for link in self._links]
        below, above = parts[: self._rank], parts[self._rank :]
        with np.errstate(all="ignore"):
            for part in below[1:]:
                np.add(below[0], part, out=below[0])
            if below:
                np.add(below[0], flat, out=flat)
            for part in above:
                np.add(flat, part, out=flat)

    def _slots_for(self, size: int) -> dict[int, NDArray[np.uint8]]:
        """Return a buffer per peer for header and `size` bytes; training asks for one size only."""
        if self._slot_size != size:
            self._slots = {k.rank: np.empty(_HEADER_BYTES + size, np.uint8) for k in self._links}
            self._slot_size = size
        return self._slots

    def _sum_around(self, header: bytes, flat: NDArray[Any]) -> None:
        """Reduce-scatter, then all-gather, as one stream from the left to the right neighbour.

        The stream carries chunk r, r-1, ... of rank r: partial sums for the first `size - 1`
        chunks, finished ones after that. What a rank sends after its first chunk is what it
        received one chunk earlier, so it may send as soon as that much has come in.
        """
        self._meet(header)
        chunks = [_segments(part) for part in np.array_split(flat, self.size)]
        order = [chunks[(self._rank - step) % self.size] for step in range(2 * self.size - 1)]
        incoming = [segment for chunk in order[1:] for segment in chunk]
        partial = sum(len(chunk) for chunk in order[1 : self.size])
        outgoing = [segment for chunk in order[:-1] for segment in chunk]
        gate = _Gate(len(order[0]))
        left, right = self._neighbours()
        send = self._pass_on(right, outgoing, gate)
        receive = self._take_in(left, incoming, partial, gate)
        with np.errstate(all="ignore"):
            self._loop.run([send, receive])

    def _take_in(
        self, left: Link, incoming: list[NDArray[Any]], partial: int, gate: "_Gate"
    ) -> Task:
        """Add the first `partial` segments to ours, put the others in the place of ours."""
        for number, segment in enumerate(incoming):
            if number < partial:
                theirs = self._scratch[: segment.nbytes]
                yield from pull(left, memoryview(theirs))
                np.add(theirs.view(segment.dtype), segment, out=segment)
            else:
                yield from pull(left, memoryview(segment.view(np.uint8)))
            gate.open += 1
            yield MOVED

    def _pass_on(self, right: Link, outgoing: list[NDArray[Any]], gate: "_Gate") -> Task:
        for number, segment in enumerate(outgoing):
            while number >= gate.open:
                yield LATER
            yield from push(right, memoryview(segment.view(np.uint8)))

    def _neighbours(self) -> tuple[Link, Link]:
        """Return the links to the rank before and the rank after this one."""
        size = self.size
        return self._by_rank[(self._rank - 1) % size], self._by_rank[(self._rank + 1) % size]

    def _give(self, header: bytes, view: memoryview) -> None:
        """Broadcast as the root."""
        if len(view) <= EAGER_BYTES:
            self._meet(header, self._links, view)
            return
        self._meet(header)
        self._loop.run([push(self._neighbours()[1], view)])

    def _take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank; large data comes around the ring and is passed on."""
        data = np.empty(self._meet(header)[root], np.uint8)
        if data.nbytes <= EAGER_BYTES:
            self._loop.run([pull(self._by_rank[root], memoryview(data))])
            return memoryview(data)
        left, right = self._neighbours()
        segments = _segments(data)
        gate = _Gate(0)
        tasks = [self._take_in(left, segments, 0, gate)]
        if right.rank != root:
            tasks.append(self._pass_on(right, segments, gate))
        self._loop.run(tasks)
        return memoryview(data)


class _Gate:
    """How many segments may be passed on by now."""

    def __init__(self, count: int) -> None:
        self.open = count


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """Return a one-dimensional view of `array`; refuse what cannot be summed in place, here and now.

    An error in mid-operation would cost the ring.
    """
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError("all_reduce: the array must be C-contiguous and writable")
    kind = array.dtype.kind
    # Kind V: bfloat16 and its like, which numpy adds but does not know as numbers.
    if kind not in "fiucV" or array.dtype.names or not array.dtype.isnative:
        raise ValueError(f"all_reduce: numbers in native byte order, not {array.dtype}")
    return array.reshape(-1)


def _segments(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut a one-dimensional array into views of at most `_SEGMENT_BYTES`."""
    step = _SEGMENT_BYTES // array.itemsize
    return [array[start : start + step] for start in range(0, len(array), step)]


def _check(link: Link, theirs: memoryview, mine: bytes) -> None:
    """Raise unless the peer's header belongs to the same call as ours."""
    if theirs == mine:
        return
    operation, detail, sequence, length = _HEADER.unpack(theirs)
    mine_operation, mine_detail, mine_sequence, mine_length = _HEADER.unpack(mine)
    if operation == 0:
        name = _OPERATIONS[mine_operation]
        raise link.failed(f"has closed its ring while this rank calls {name}")
    same = (operation, detail, sequence) == (mine_operation, mine_detail, mine_sequence)
    if not same or (_OPERATIONS[operation] == "all_reduce" and length != mine_length):
        raise link.failed(f"called {_describe(theirs)} while this rank calls {_describe(mine)}")


def _describe(header: Buffer) -> str:
    operation, detail, sequence, length = _HEADER.unpack(header)
    name = _OPERATIONS[operation] if operation < len(_OPERATIONS) else f"operation {operation}"
    if name == "all_reduce":
        name += f" of {chr(detail >> 8)}{detail & 255}"
    elif name == "broadcast":
        name += f" from rank {detail}"
    return f"{name}, {length} bytes, call {sequence}"
