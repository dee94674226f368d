"""Rings for tests: of threads where that suffices, of processes where one must be killed."""

import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.groups import layout
from zoo.orca.worker.collective.groups.hosts import Hosts
from zoo.orca.worker.collective.groups.rows import HostRows
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.collective.shared_memory import SharedMemory
from zoo.orca.worker.collective.streams import Streams

#: Which transport the rings of `thread_ring` and `process_ring` have.
SHARE_MEMORY = True
#: Over how many hosts the ranks of these rings lie, in turns; each is an address of this one.
HOSTS = 1
#: How many hosts exchange data each with each, all ranks being connected; None: as in a job.
ROW: int | None = None
#: The certificate of the rings of `thread_ring` and `process_ring`; empty: they are in clear.
IDENTITY = ""
SECRET = b"the secret of the tests".ljust(32, b".")


def in_threads(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all `calls` at once; return what each returned, or the error it raised."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except (OSError, PeerLostError, ValueError) as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert not any(thread.is_alive() for thread in threads), "a rank hangs"
    return results


def connect_all(listeners: Sequence[Listener], **options: Any) -> list[Any]:
    """Connect a ring over all `listeners`; return the rings, or errors."""
    addresses = [listener.address for listener in listeners]

    def call(rank: int) -> Callable[[], Ring]:
        return lambda: Ring.connect(listeners[rank], rank, addresses, SECRET, **options)

    return in_threads([call(rank) for rank in range(len(listeners))])


@contextmanager
def ring_over(hosts: Sequence[str], **options: Any) -> Iterator[list[Ring]]:
    """Rings of threads of this process, each as if on one of `hosts`, connected with each other."""
    rings = connect_all([Listener(host) for host in hosts], **options)
    assert all(isinstance(ring, Ring) for ring in rings), rings
    try:
        yield rings
    finally:
        for ring in rings:
            ring.close()


@contextmanager
def thread_ring(size: int, **options: Any) -> Iterator[list[Ring]]:
    """Rings of `size` threads of this process, connected with each other."""
    given = {"share_memory": SHARE_MEMORY, "identity": IDENTITY, **options}
    with ring_over([host_of(rank) for rank in range(size)], **given) as rings:
        expected = expected_transport(size, given["share_memory"])
        assert [type(ring._transport) for ring in rings] == [expected] * size
        yield rings


def host_of(rank: int) -> str:
    """The address of a rank's host."""
    return f"127.0.0.{1 + rank % HOSTS}"


def expected_transport(size: int, share_memory: bool) -> type:
    """What carries a ring's operations."""
    if ROW is not None:
        return HostRows if size > ROW else Streams
    if not share_memory or size <= HOSTS:
        if share_memory and HOSTS == 1 < size:
            return SharedMemory
        return HostRows if size > layout.ROW else Streams
    return SharedMemory if HOSTS == 1 else Hosts


def shares_memory(ring: Ring) -> bool:
    """Whether data goes through memory."""
    return isinstance(ring._transport, SharedMemory)


def on_all(rings: Sequence[Ring], function: Callable[..., Any], *args: Any) -> list[Any]:
    """Call ``function(ring, *args)`` for every ring at once; return results or errors."""
    return in_threads([lambda ring=ring: function(ring, *args) for ring in rings])


class Rank:
    """One process of a ring; `start` a function there, then take its `result`."""

    def __init__(self, rank: int, host: str, transport: type, options: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        given = (rank, host, transport, ROW, options, theirs)
        self.process = context.Process(target=_serve, args=given, daemon=True)
        self.process.start()
        theirs.close()

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function(ring, *args)`` in the process; it must be found by its name."""
        self._pipe.send((function, args))

    def result(self, timeout: float = 50) -> Any:
        """Return what the function returned, or the error it raised."""
        assert self._pipe.poll(timeout), "a rank hangs"
        return self._pipe.recv()

    def tell(self, value: Any) -> None:
        """Send what `_serve` waits for before it connects."""
        self._pipe.send(value)

    def end(self) -> None:
        """Kill the process and wait for it."""
        self.process.kill()
        self.process.join()
        self._pipe.close()


@contextmanager
def process_ring(size: int, **options: Any) -> Iterator[list[Rank]]:
    """Processes that are connected as one ring."""
    given = {"share_memory": SHARE_MEMORY, "identity": IDENTITY, **options}
    expected = expected_transport(size, given["share_memory"])
    ranks = [Rank(number, host_of(number), expected, given) for number in range(size)]
    try:
        addresses = [rank.result() for rank in ranks]
        for rank in ranks:
            rank.tell(addresses)
        assert [rank.result() for rank in ranks] == ["connected"] * size
        yield ranks
    finally:
        for rank in ranks:
            rank.end()


def everywhere(ranks: Sequence[Rank], function: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `function` in all processes at once; return results or errors."""
    for rank in ranks:
        rank.start(function, *args)
    return [rank.result() for rank in ranks]


def _serve(
    number: int,
    host: str,
    transport: type,
    row: int | None,
    options: dict[str, Any],
    pipe: Connection,
) -> None:
    if row is not None:
        layout.ROW, layout.MESHED_RANKS = row, 0
    listener = Listener(host)
    pipe.send(listener.address)
    ring = Ring.connect(listener, number, pipe.recv(), SECRET, timeout=40, **options)
    assert type(ring._transport) is transport
    pipe.send("connected")
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(function(ring, *args))
        except (PeerLostError, ValueError) as error:
            # Errors with keyword-only arguments do not survive a pickle whole.
            pipe.send(type(error)(str(error)))


def plain_connection(address: tuple[str, int]) -> socket.socket:
    """Connect as a stranger does."""
    return socket.create_connection(address, timeout=20)
