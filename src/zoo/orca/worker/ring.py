"""The collective over TCP: one thread, non-blocking sockets, numpy.

Every operation begins with a header from every rank to every other one: which operation, which
one in the sequence, how long. So calls that do not match are an error on both sides at once, not a
hang or a wrong sum; and nobody sends more than `EAGER_BYTES` to a rank that has not shown up,
because its window must stay open (see `zoo.orca.worker.sockets`). Small data rides along with the
header: an all-reduce of it is one round trip.

========== ======================================================================================
all_reduce
 small     direct: all to all, added in rank order on every rank
 two ranks each sends all it has while all of the other's comes in: half the round trips of a ring
 large     ring: reduce-scatter and all-gather in one pipelined stream, each sum made on one rank
broadcast
 small     root to all
 large     from rank to rank around the ring, passed on while it arrives
all_gather all to all: every byte must reach every rank, and no way around is shorter
========== ======================================================================================

All of them make every rank's sums bit-identical.

A failure closes all links, so that whoever waits for this rank learns of it at once.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import PeerLostError
from zoo.orca.worker import mesh, pipeline
from zoo.orca.worker.calls import GOODBYE, HEADER_BYTES, check, header_of, length_in
from zoo.orca.worker.collective import Buffer
from zoo.orca.worker.loop import MOVED, Loop, Task, pull, push, push_call
from zoo.orca.worker.pipeline import Gate, pass_on, segments, take_in
from zoo.orca.worker.sockets import EAGER_BYTES, Link, Listener, hosts_shared
from zoo.orca.worker.sums import add_in_rank_order, flat_view, kind_code

__all__ = ["Listener", "Ring"]

#: Three and more ranks send all they have to every other one while each so receives no more than
#: this; measured, see benchmarks/allreduce.py. Above it, the ring's fewer bytes win.
_DIRECT_BYTES: Final = 1 << 20
_OPERATION_SECONDS: Final = 7200.0
_SPIN_SECONDS: Final = 50e-6
_GOODBYE_SECONDS: Final = 2.0
_CLOSE_RETRY_SECONDS: Final = 0.05
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
        self._headers = {link.rank: memoryview(bytearray(HEADER_BYTES)) for link in self._links}
        self._loop = Loop(self._links, _SPIN_SECONDS if spin else 0.0)
        self._scratch = np.empty(pipeline.SEGMENT_BYTES, np.uint8)
        self._slots: dict[int, NDArray[np.uint8]] = {}
        self._slot_size = -1
        self._sequence = 0
        self._failure: PeerLostError | None = None
        self._closed = False
        self._operating = False
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
        """Number of this process, from 0 to ``size - 1``."""
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
        flat = flat_view(array)
        algorithm = self._sum_directly
        if self.size == 2 and flat.nbytes > EAGER_BYTES:
            algorithm = self._sum_with_the_other
        elif flat.nbytes * len(self._links) > _DIRECT_BYTES:
            algorithm = self._sum_around
        kind = kind_code(flat.dtype)
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

        While this rank computes, nothing else notices that a peer is gone. A peer that has closed
        its ring in an orderly way is not lost.
        """
        if self._failure is None and self._lock.acquire(blocking=False):
            try:
                self._loop.look_for_lost()
            except PeerLostError as error:
                self._failure = error
            finally:
                self._release()
        return None if self._closed else self._failure

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
        while not self._lock.acquire(timeout=_CLOSE_RETRY_SECONDS):
            if self._operating:  # else `lost_peer` holds the lock, and not for long
                self.abort("closed by another thread of this process")
                return
        try:
            if self._failure is None:
                self._closed = True
                self._failure = PeerLostError(f"rank {self._rank} has closed this ring")
                deadline = time.monotonic() + _GOODBYE_SECONDS
                for link in self._links:
                    link.say_goodbye(GOODBYE, deadline)
        finally:
            self._release()

    def _operate(
        self, name: str, detail: int, length: int, run: Callable[[bytes], _Result]
    ) -> _Result:
        """Run one operation; whatever goes wrong in it is the end of the ring."""
        self._lock.acquire()
        self._operating = True
        try:
            if self._failure is not None:
                raise self._failure
            self._sequence += 1
            self._loop.begin(name, self.timeout)
            return run(header_of(name, detail, self._sequence, length))
        except BaseException as error:
            self._fail(error)
        finally:
            self._operating = False
            self._release()

    def _fail(self, error: BaseException) -> NoReturn:
        """Note the first failure for all later calls, and raise what this call ends with."""
        if self._failure is None:
            if isinstance(error, PeerLostError):
                self._failure = error
            else:
                # Ctrl-C or no memory left, in mid-stream: nobody knows where the next header is.
                reason = f"interrupted by {error!r}"
                self._failure = PeerLostError(f"rank {self._rank} left the ring: {reason}")
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
        return {rank: length_in(theirs) for rank, theirs in self._headers.items()}

    def _hear(self, link: Link, header: bytes, view: memoryview) -> Task:
        """Fill `view` with the peer's header and maybe data; look at the header once it is there.

        At once, because a peer in another operation may never send as much as `view` waits for.
        """
        missing = view
        checked = False
        while missing:
            count = link.receive(missing)
            missing = missing[count:]
            if not checked and len(view) - len(missing) >= HEADER_BYTES:
                check(link, view[:HEADER_BYTES], header)
                checked = True
            if missing:
                yield MOVED if count else (link, select.POLLIN)

    def _sum_directly(self, header: bytes, flat: NDArray[Any]) -> None:
        """Send all to all; add in rank order, so that every rank gets the same bits."""
        slots = self._slots_for(flat.nbytes)
        data = flat.view(np.uint8).data
        if flat.nbytes <= EAGER_BYTES:
            tasks = [push_call(link, header, data) for link in self._links]
            hear = [self._hear(k, header, slots[k.rank].data) for k in self._links]
            self._loop.run(tasks + hear)
        else:
            self._meet(header, self._links, data)
            tasks = [push(link, data[EAGER_BYTES:]) for link in self._links]
            pulls = [pull(k, slots[k.rank].data[HEADER_BYTES:]) for k in self._links]
            self._loop.run(tasks + pulls)
        parts = [slots[link.rank][HEADER_BYTES:].view(flat.dtype) for link in self._links]
        add_in_rank_order(flat, self._rank, parts)

    def _sum_with_the_other(self, header: bytes, flat: NDArray[Any]) -> None:
        """Between two ranks: send all of ours while all of theirs comes in."""
        (link,) = self._links
        data = flat.view(np.uint8).data
        self._meet(header, self._links, data)
        sent = Gate(EAGER_BYTES)
        add = pipeline.add_theirs(link, flat, sent, self._scratch, ours_first=self._rank == 0)
        with np.errstate(all="ignore"):
            self._loop.run([pipeline.push_counted(link, data, sent), add])

    def _slots_for(self, size: int) -> dict[int, NDArray[np.uint8]]:
        """Return a buffer per peer for header and `size` bytes; training asks for one size only."""
        if self._slot_size != size:
            self._slots = {k.rank: np.empty(HEADER_BYTES + size, np.uint8) for k in self._links}
            self._slot_size = size
        return self._slots

    def _sum_around(self, header: bytes, flat: NDArray[Any]) -> None:
        """Reduce-scatter, then all-gather, as one stream from the left to the right neighbour.

        The stream carries chunk r, r-1, ... of rank r: partial sums for the first `size - 1`
        chunks, finished ones after that. What a rank sends after its first chunk is what it
        received one chunk earlier, so it may send as soon as that much has come in.
        """
        self._meet(header)
        chunks = [segments(part) for part in np.array_split(flat, self.size)]
        order = [chunks[(self._rank - step) % self.size] for step in range(2 * self.size - 1)]
        incoming = [segment for chunk in order[1:] for segment in chunk]
        partial = sum(len(chunk) for chunk in order[1 : self.size])
        outgoing = [segment for chunk in order[:-1] for segment in chunk]
        gate = Gate(len(order[0]))
        left, right = self._neighbours()
        receive = take_in(left, incoming, gate, self._scratch, partial)
        with np.errstate(all="ignore"):
            self._loop.run([pass_on(right, outgoing, gate), receive])

    def _neighbours(self) -> tuple[Link, Link]:
        """Return the links to the rank before and the rank after this one."""
        size = self.size
        return self._by_rank[(self._rank - 1) % size], self._by_rank[(self._rank + 1) % size]

    def _give(self, header: bytes, view: memoryview) -> None:
        """Broadcast as the root."""
        if len(view) <= EAGER_BYTES or not self._links:
            self._meet(header, self._links, view)
            return
        self._meet(header)
        self._loop.run([push(self._neighbours()[1], view)])

    def _take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank; large data comes around the ring and is passed on."""
        data = np.empty(self._meet(header)[root], np.uint8)
        if data.nbytes <= EAGER_BYTES:
            self._loop.run([pull(self._by_rank[root], data.data)])
            return data.data
        left, right = self._neighbours()
        parts, gate = segments(data), Gate(0)
        tasks = [take_in(left, parts, gate, self._scratch, 0)]
        if right.rank != root:
            tasks.append(pass_on(right, parts, gate))
        self._loop.run(tasks)
        return data.data
