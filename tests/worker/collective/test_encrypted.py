"""Links behind TLS: the same bits as in clear, whoever else comes to the ring's ports.

`test_ring.py` has the sweeps and all that may happen to a peer; they run behind TLS as well.
"""

import contextlib
import hashlib
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.worker.collective.ring_processes import (
    SECRET,
    connect_all,
    everywhere,
    in_threads,
    on_all,
    plain_connection,
    process_ring,
)
from tests.worker.collective.test_ring import assert_is_sum, lost, reduce_values, values
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.encryption.tls import Contexts, contexts_of
from zoo.orca.worker.collective.encrypted import EncryptedLink, EncryptedSocket
from zoo.orca.worker.collective.mesh import Mesh
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.collective.transfers import Loop, pull, push

pytestmark = pytest.mark.timeout(60)

IDENTITY = self_signed()


def digest_of_many(ring: Collective, count: int, times: int) -> str:
    """All-reduce different numbers again and again; return what all the sums hash to."""
    found = hashlib.sha256()
    array = values(ring.rank, count, "float32")
    for number in range(times):
        summed = array * np.float32(number + 1)
        ring.all_reduce(summed)
        found.update(summed.tobytes())
        gathered = ring.all_gather(summed[: number * 1000 + ring.rank].tobytes())
        found.update(b"".join(bytes(one) for one in gathered))
        given = summed[::-1].tobytes() if ring.rank == number % ring.size else None
        found.update(ring.broadcast(given, number % ring.size))
    return found.hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.parametrize("size", [2, 3])
def test_large_sums_have_the_bits_of_those_in_clear(size: int) -> None:
    count, times = 8_000_003, 8  # 32 MB
    with process_ring(size, share_memory=False, identity=IDENTITY) as ranks:
        encrypted = [rank for rank in everywhere_slowly(ranks, count, times)]
    with process_ring(size, share_memory=False, identity="") as ranks:
        clear = [rank for rank in everywhere_slowly(ranks, count, times)]
    assert len(set(encrypted + clear)) == 1 and len(encrypted[0]) == 64


def everywhere_slowly(ranks: list[Any], count: int, times: int) -> Iterator[str]:
    for rank in ranks:
        rank.start(digest_of_many, count, times)
    for rank in ranks:
        yield rank.result(120)


@pytest.mark.parametrize("size", [2, 3])
def test_small_sums_have_the_bits_of_those_in_clear(size: int) -> None:
    with (
        process_ring(size, share_memory=False, identity=IDENTITY) as ranks,
        process_ring(size, share_memory=False, identity="") as others,
    ):
        for count in (1, 300, 9_001, 41_003, 400_009):
            results = [everywhere(all_, digest_of_many, count, 20) for all_ in (ranks, others)]
            assert len(set(results[0] + results[1])) == 1 and len(results[0][0]) == 64


def stranger_with_tls(address: tuple[str, int]) -> Any:
    """Connect with the certificate of another job, and trust everybody."""
    other = contexts_of(self_signed())
    assert other is not None
    other.connects.verify_mode = ssl.CERT_NONE
    try:
        with (
            plain_connection(address) as plain,
            other.connects.wrap_socket(plain) as line,
        ):
            line.sendall(b"orca-hs\x01ring\0\0\0\0" + bytes(32))
            return line.recv(100)
    except OSError as error:
        return error


def test_strangers_disturb_nobody() -> None:
    """Some say nothing, or garbage; some speak TLS, some only know the secret."""
    listeners = [Listener() for _ in range(3)]
    strangers = [plain_connection(listeners[n % 2].address) for n in range(12)]
    garbage = [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n" * 9]
    for number, stranger in enumerate(strangers):
        stranger.sendall(garbage[number % 3])
    addresses = [listener.address for listener in listeners]

    def false_peer(identity: str) -> None:
        # It takes itself for rank 2 of this ring, and knows the secret.
        Ring.connect(Listener(), 2, addresses, SECRET, timeout=10, identity=identity)

    def peer(rank: int) -> Ring:
        if rank == 2:
            time.sleep(1)
        return Ring.connect(
            listeners[rank],
            rank,
            addresses,
            SECRET,
            timeout=30,
            identity=IDENTITY,
            share_memory=False,
        )

    begin = time.monotonic()
    *rings, in_clear, of_another_job, without_rank = in_threads(
        [
            *(lambda r=rank: peer(r) for rank in range(3)),
            lambda: false_peer(""),
            lambda: false_peer(self_signed()),
            lambda: stranger_with_tls(addresses[0]),
        ]
    )
    assert time.monotonic() - begin < 10
    lost(in_clear)
    assert "is not who it should be" in lost(of_another_job)
    assert isinstance(without_rank, OSError) or without_rank == b""
    assert_is_sum(on_all(rings, reduce_values, 100_003, "float32"), 100_003, "float32")
    for closable in (*rings, *strangers):
        closable.close()


def test_a_stranger_that_stops_in_mid_handshake_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zoo.orca.worker.collective.mesh.STRANGER_SECONDS", 0.5)
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    stranger = plain_connection(addresses[0])
    stranger.sendall(b"\x16\x03\x01\x02\x00\x01\x00")

    def wait_for_the_end() -> float:
        begin = time.monotonic()
        while stranger.recv(1000):
            pass
        return time.monotonic() - begin

    def wait_for_peers() -> None:
        Ring.connect(listeners[0], 0, addresses, SECRET, timeout=3, identity=IDENTITY)

    waited, seconds = in_threads([wait_for_peers, wait_for_the_end])
    assert "rank 1 at" in lost(waited) and "did not come" in lost(waited)
    assert seconds < 2
    stranger.close()
    listeners[1].close()


def test_who_waits_for_a_silent_peer_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is up at once, and would take bytes all the time."""
    woken: list[object] = []
    advance = Mesh._advance

    def noted(mesh: Mesh, opening: Any) -> None:
        woken.append(opening)
        advance(mesh, opening)

    monkeypatch.setattr(Mesh, "_advance", noted)
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]

    def wait() -> None:
        Ring.connect(listeners[1], 1, addresses, SECRET, timeout=2, identity=IDENTITY)

    words = lost(in_threads([wait])[0])
    assert "rank 0 at" in words and "did not come" in words
    assert 0 < len(woken) < 10
    listeners[0].close()


def test_another_jobs_ring_in_a_dead_peers_place() -> None:
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    calls = [
        lambda: Ring.connect(listeners[1], 1, addresses, SECRET, timeout=4, identity=IDENTITY),
        lambda: Ring.connect(listeners[0], 0, addresses, SECRET, timeout=4, identity=self_signed()),
    ]
    mine, theirs = in_threads(calls)
    assert "rank 0 at" in lost(mine) and "is not who it should be" in lost(mine)
    # The other one has given up meanwhile: it does not come, and its listener is closed.
    assert "did not come" in lost(theirs) or "does not listen any more" in lost(theirs)


class Meddler:
    """Passes bytes on between two ranks, and alters one of them when told to."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self.alters = False
        self._target = target
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(self._target)
        with self._server, near, far, contextlib.suppress(OSError):
            pairs = {near: far, far: near}
            selector = selectors.DefaultSelector()
            for end in pairs:
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    data = bytearray(key.fileobj.recv(1 << 16))  # type: ignore[union-attr]
                    if not data:
                        return
                    if self.alters:
                        data[len(data) // 2] ^= 1
                    pairs[key.fileobj].sendall(data)  # type: ignore[index]


def test_bytes_altered_on_the_way_are_never_summed() -> None:
    listeners = [Listener() for _ in range(2)]
    meddler = Meddler(listeners[0].address)
    # Both name the same addresses, as all ranks of a ring do; rank 1 connects to rank 0.
    addresses = [meddler.address, listeners[1].address]
    rings = in_threads(
        [
            lambda r=rank: Ring.connect(
                listeners[r], r, addresses, SECRET, identity=IDENTITY, share_memory=False
            )
            for rank in range(2)
        ]
    )
    assert_is_sum(on_all(rings, reduce_values, 300_000, "float32"), 300_000, "float32")
    meddler.alters = True
    told = [lost(result) for result in on_all(rings, reduce_values, 300_000, "float32")]
    assert any("did not send what arrived" in words for words in told), told
    for ring in rings:
        ring.close()


@pytest.fixture
def links() -> Iterator[tuple[EncryptedLink, EncryptedLink]]:
    """Two links over a connection that holds next to nothing."""
    contexts = contexts_of(IDENTITY)
    assert isinstance(contexts, Contexts)
    ends = socket.socketpair()
    made = []
    for number, end in enumerate(ends):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        encrypted = EncryptedSocket(end, contexts, accepts=number == 0)
        made.append(EncryptedLink(number, ("127.0.0.1", number), encrypted))

    def meet(link: EncryptedLink) -> None:
        loop = Loop([link], 0.0)
        loop.begin("meeting", 20)
        loop.run([push(link, memoryview(b"x")), pull(link, memoryview(bytearray(1)))])

    assert in_threads([lambda k=link: meet(k) for link in made]) == [None, None]
    yield made[0], made[1]
    for link in made:
        link.close()


def test_nothing_stays_behind_when_sending_ends(links: Any) -> None:
    """What OpenSSL has taken is not sent yet: a peer would wait for it while this rank computes."""
    sending, receiving = links
    data = np.random.default_rng(0).bytes(300_001)
    begun = push(sending, memoryview(data))
    moves = 0
    while (next(begun, None)) is not None and moves < 10:  # nobody reads
        moves += 1
    assert sending.holds and moves == 10
    arrived = memoryview(bytearray(len(data)))
    loops = [Loop([link], 0.0) for link in links]
    for loop in loops:
        loop.begin("all_reduce", 20)
    calls = [
        lambda: loops[0].run([begun]),
        lambda: loops[1].run([pull(receiving, arrived)]),
    ]
    assert in_threads(calls) == [None, None]
    assert not sending.holds
    assert bytes(arrived) == data


def test_what_openssl_holds_is_read_though_the_socket_is_empty(links: Any) -> None:
    sending, receiving = links
    assert sending.send(b"0123456789") == 10
    piece = memoryview(bytearray(4))
    assert receiving.peek(2) == b"01"
    assert receiving.peek(100) == b"0123456789"
    assert receiving.receive(piece) == 4 and bytes(piece) == b"0123"
    assert receiving.peek(3) == b"456"
    rest = memoryview(bytearray(10))
    assert receiving.receive(rest) == 6 and bytes(rest[:6]) == b"456789"
    assert receiving.receive(rest) == 0 and receiving.peek(1) is None
    sending.send(b"bye")
    sending.close()
    assert receiving.peek(16) == b"bye"
    assert receiving.receive(rest) == 3
    assert receiving.peek(16) == b""
    with pytest.raises(Exception, match="closed the connection"):
        receiving.receive(rest)


def test_a_ring_across_hosts_says_that_it_needs_encryption() -> None:
    """NCCL, which cannot encrypt, is left out then."""
    on_one_host = connect_all([Listener() for _ in range(2)], identity=IDENTITY)
    assert [ring.needs_encryption for ring in on_one_host] == [False, False]
    listeners = [Listener("127.0.0.1"), Listener("127.0.0.2")]
    for identity in ("", IDENTITY):
        across = connect_all(listeners, identity=identity)
        assert [ring.needs_encryption for ring in across] == [bool(identity)] * 2
        for ring in across:
            ring.close()
        listeners = [Listener("127.0.0.1"), Listener("127.0.0.2")]
    for closable in (*on_one_host, *listeners):
        closable.close()
