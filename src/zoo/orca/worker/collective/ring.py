"""The collective: a fixed group of processes, each connected to each by an authenticated link.

::

    Ring               the operations in order, one at a time; failures; the end
      Streams          carries them between any hosts, over the links themselves
      HostRows         carries them among more hosts than can all send to all
      SharedMemory     carries them if all ranks are on one host; the links then only tell
                       whether all ranks are still there
      Hosts            carries them if some hosts have several ranks: through memory within a host,
                       and over the links between the first ranks of the hosts

Every rank begins every operation by sending a header to every other rank of its group: its host,
its row of hosts, or all (`groups.layout`). The header has the operation, its sequence number and
its length. So mismatched calls are an error on both sides at once, not a hang or a wrong sum. Every
rank's sums are bit-identical.

A failure closes all links, so every rank that waits for this one notices at once.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective import mesh, segment
from zoo.orca.worker.collective.arithmetic import flat_view, kind_code
from zoo.orca.worker.collective.groups import layout
from zoo.orca.worker.collective.groups.hosts import Hosts
from zoo.orca.worker.collective.groups.rows import HostRows, among
from zoo.orca.worker.collective.headers import GOODBYE, header_of
from zoo.orca.worker.collective.protocol import Buffer, Merge
from zoo.orca.worker.collective.shared_memory import SharedMemory
from zoo.orca.worker.collective.sockets import Link, Listener
from zoo.orca.worker.collective.streams import Streams
from zoo.orca.worker.collective.transfers import Loop
from zoo.orca.worker.collective.transport import Transport

__all__ = ["Listener", "Ring"]

_OPERATION_SECONDS: Final = 7200.0
_SPIN_SECONDS: Final = 50e-6
_GOODBYE_SECONDS: Final = 2.0
_CLOSE_RETRY_SECONDS: Final = 0.05

_Result = TypeVar("_Result")


class Ring:
    """A fixed group of processes, connected by links; made by :meth:`connect`.

    Only one thread at a time may call operations. Any thread may call `close`, `abort` and
    `lost_peer`.

    Attributes
    ----------
    timeout : float
        The seconds that one operation may take, including the wait for the slowest rank.
    host : str
        The interface of this host that the other ranks reach.
    spans_hosts : bool
        Whether some ranks are on another host than others.
    needs_encryption : bool
        Whether data that leaves this host must be encrypted, whoever carries it.
    """

    def __init__(
        self, rank: int, size: int, links: Sequence[Link], *, timeout: float, spin: bool
    ) -> None:
        self.timeout = timeout
        self.host = "127.0.0.1"
        self.spans_hosts = False
        self.needs_encryption = False
        self._rank = rank
        self._size = size
        self._links = list(links)
        self._by_rank = {link.rank: link for link in self._links}
        self._meshed = size <= layout.MESHED_RANKS
        self._loop = Loop(self._links, _SPIN_SECONDS if spin else 0.0)
        self._transport: Transport
        self._sequence = 0
        self._failure: PeerLostError | None = None
        self._closed = False
        self._operating = False
        # Held while the sockets are in use: no thread may close a descriptor that another one
        # polls.
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
        share_memory: bool = True,
        identity: str = "",
    ) -> "Ring":
        """Connect to all other ranks; must be called on all ranks.

        The listener is closed afterwards, because it is no longer needed.

        Parameters
        ----------
        listener : Listener
            Its address is ``addresses[rank]``.
        rank : int
        addresses : sequence of (host, port)
            Of all ranks, in rank order.
        secret : bytes
            Known only to the ranks of this job; at least 16 bytes.
        timeout : float
            Seconds to wait for the last peer.
        operation_timeout : float
            The ring's `timeout`.
        share_memory : bool
            Whether this rank can share memory. Shared memory is used if all ranks can.
        identity : str
            The job's certificate and key (`zoo.orca.encryption`); empty: links are in clear.

        Raises
        ------
        PeerLostError
            A peer did not connect in time, refuses connections, or does not know the secret.
        """
        size = len(addresses)
        groups = layout.ranks_by_host(addresses)
        meshed = size <= layout.MESHED_RANKS
        peers = set(range(size)) - {rank} if meshed else layout.partners(rank, groups)
        try:
            links = mesh.connect(listener, rank, addresses, secret, timeout, identity, peers)
        finally:
            listener.close()
        # With more waiting ranks than processors, spinning would slow down the rank that works.
        together = layout.group_of(rank, groups)
        spin = len(together) <= (os.cpu_count() or 1)
        ring = cls(rank, size, links, timeout=timeout, spin=spin)
        ring._lay_out([[number] for number in range(size)] if meshed else groups)
        if len(groups) < size:
            ring._share_memory(groups, together, share_memory)
        ring.spans_hosts = len(groups) > 1
        ring.needs_encryption = bool(identity) and ring.spans_hosts
        ring.timeout = operation_timeout
        ring.host = addresses[rank][0]
        return ring

    def _share_memory(
        self, groups: Sequence[Sequence[int]], together: Sequence[int], willing: bool
    ) -> None:
        """Switch to shared memory if every rank is willing and able; called on all ranks."""
        segments = segment.agree(self._rank, together, self.all_gather, willing=willing)
        if not segments:
            return
        near = [self._by_rank[other] for other in together if other != self._rank]
        memory = SharedMemory(self._rank, near, self._loop, segments) if near else None
        if memory is not None and len(groups) == 1:
            self._transport = memory
        else:
            self._transport = Hosts(self._rank, groups, memory, self._among)

    def _lay_out(self, groups: Sequence[Sequence[int]]) -> None:
        """Let links carry all operations: within the groups, and between their carriers."""
        if all(len(group) == 1 for group in groups):
            self._transport = self._among([rank for (rank,) in groups])
        elif len(groups) == 1:
            self._transport = Streams(self._rank, self._links, self._loop)
        else:
            self._transport = HostRows(
                self._rank, groups, self._by_rank, self._loop, meshed=self._meshed
            )

    def _among(self, ranks: Sequence[int]) -> Transport:
        return among(self._rank, ranks, self._by_rank, self._loop, meshed=self._meshed)

    @property
    def rank(self) -> int:
        """Number of this process, from 0 to ``size - 1``."""
        return self._rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self._size

    def all_reduce(self, array: NDArray[Any], *, rounded: bool = False) -> None:
        """Replace `array` on every rank by the sum over ranks; see :class:`Collective`.

        Parameters
        ----------
        array : array
        rounded : bool
            Whether numbers of float32 may be sent between hosts as bfloat16, half the bytes. They
            are added as float32. Other types are always exact. The same on all ranks.

        Raises
        ------
        ValueError
            `array` is not C-contiguous, not writable, or not of numbers in native byte order.
        PeerLostError
            A peer closed its connection, fell silent, or called another operation.
        """
        flat = flat_view(array)
        rounded = rounded and flat.dtype == np.float32
        kind = kind_code(flat.dtype, rounded=rounded)

        def run(header: bytes) -> None:
            self._transport.all_reduce(header, flat, rounded=rounded)

        self._operate("all_reduce", kind, flat.nbytes, run)

    def all_gather(self, data: Buffer, merge: Merge | None = None) -> Sequence[Buffer]:
        """Return every rank's `data` in rank order; see :class:`Collective`."""
        view = memoryview(data).cast("B")
        hosts = self._transport
        if merge is not None and isinstance(hosts, Hosts):
            return self._operate(
                "all_gather", 0, len(view), lambda header: hosts.gather_merged(header, view, merge)
            )
        gathered = self._operate(
            "all_gather", 0, len(view), lambda header: self._transport.all_gather(header, view)
        )
        return [gathered.get(rank, data) for rank in range(self.size)]

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `root`'s `data` on every rank; the others pass None. Called on all ranks."""
        if not 0 <= root < self.size:
            raise ValueError(f"broadcast: root is a rank from 0 to {self.size - 1}, not {root}")
        if (data is None) == (root == self._rank):
            raise ValueError(f"broadcast: rank {root}, and it alone, passes data")
        if data is None:
            return self._operate(
                "broadcast", root, 0, lambda header: self._transport.take(header, root)
            )
        view = memoryview(data).cast("B")
        self._operate(
            "broadcast", root, len(view), lambda header: self._transport.give(header, view)
        )
        return data

    def barrier(self) -> None:
        """Return once every rank has called it."""
        self._operate("barrier", 0, 0, lambda header: self._transport.barrier(header))

    def end(self) -> None:
        """Return once every rank has called it, as its last operation.

        A peer that calls another one meanwhile learns that this rank has returned.
        """
        self._operate("end", 0, 0, lambda header: self._transport.barrier(header))

    def lost_peer(self) -> PeerLostError | None:
        """Return why this ring has failed or will fail, None if unknown; for other threads.

        Only this method notices a lost peer while this rank computes. A peer that closed its ring
        in an orderly way is not lost.
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
        """Make the current operation, in whatever thread, and all later ones fail promptly.

        The other ranks notice that this one is lost.
        """
        if self._failure is None:
            self._failure = PeerLostError(f"rank {self._rank} left the ring: {reason}")
        for link in self._links:
            link.shut()
        if self._lock.acquire(blocking=False):
            self._release()

    def close(self) -> None:
        """Leave the ring and release the sockets; may be called more than once, by any rank.

        The peers' last operation still succeeds, because the data they need is already sent. While
        another thread runs an operation, this is :meth:`abort`.
        """
        while not self._lock.acquire(timeout=_CLOSE_RETRY_SECONDS):
            if self._operating:  # otherwise `lost_peer` holds the lock, but not for long
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
        """Run one operation; any error in it ends the ring."""
        # no limit: other threads hold it for moments, and wait for nothing meanwhile
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
        """Note the first failure for all later calls, and raise this call's error."""
        if self._failure is None:
            if isinstance(error, PeerLostError):
                self._failure = error
            else:
                # Ctrl-C or a lack of memory in mid-stream: the position of the next header is
                # unknown.
                reason = f"interrupted by {error!r}"
                self._failure = PeerLostError(f"rank {self._rank} left the ring: {reason}")
        if isinstance(error, PeerLostError):
            raise self._failure.with_traceback(None) from error.__cause__
        raise error

    def _release(self) -> None:
        """Release the lock, and also sockets and memory if the ring has failed."""
        if self._failure is not None:
            self._transport.close()
            for link in self._links:
                link.close()
        self._lock.release()
