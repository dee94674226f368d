"""From addresses to a ring, and staying connected: peers that never come, die, or are none."""

import socket
import threading
import time

import pytest

from tests.worker.collective.ring_processes import (
    SECRET,
    connect_all,
    in_threads,
    on_all,
    plain_connection,
    process_ring,
)
from tests.worker.collective.test_ring import assert_is_sum, lost, reduce_values
from zoo.orca.worker.collective.ring import Listener, Ring

pytestmark = pytest.mark.timeout(60)


def test_a_peer_that_never_comes_is_named() -> None:
    listeners = [Listener() for _ in range(3)]
    addresses = [listener.address for listener in listeners]
    calls = [
        lambda rank=rank: Ring.connect(listeners[rank], rank, addresses, SECRET, timeout=1)
        for rank in (0, 1)
    ]
    begin = time.monotonic()
    messages = [lost(result) for result in in_threads(calls)]
    assert time.monotonic() - begin < 4
    assert any(f"rank 2 at 127.0.0.1:{addresses[2][1]}" in message for message in messages)
    listeners[2].close()


def test_a_name_that_nobody_knows() -> None:
    listener = Listener()
    addresses = [("no-such-host.invalid", 9), listener.address]
    result = in_threads([lambda: Ring.connect(listener, 1, addresses, SECRET, timeout=1)])[0]
    assert "rank 0 at no-such-host.invalid:9 did not come" in lost(result)


def test_a_refusal_is_a_dead_peer() -> None:
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    listeners[0].close()
    begin = time.monotonic()
    result = in_threads([lambda: Ring.connect(listeners[1], 1, addresses, SECRET, timeout=50)])[0]
    assert f"rank 0 at 127.0.0.1:{addresses[0][1]} refuses connections" in lost(result)
    assert 1 < time.monotonic() - begin < 5


@pytest.mark.parametrize("size", [2, 4])
def test_a_higher_rank_that_dies_before_it_connects_is_not_waited_for(size: int) -> None:
    listeners = [Listener() for _ in range(size)]
    addresses = [listener.address for listener in listeners]
    listeners[-1].close()
    begin = time.monotonic()
    calls = [
        lambda rank=rank: Ring.connect(listeners[rank], rank, addresses, SECRET, timeout=50)
        for rank in range(size - 1)
    ]
    messages = [lost(result) for result in in_threads(calls)]
    assert time.monotonic() - begin < 10
    assert any(f"rank {size - 1} at" in one and "does not listen" in one for one in messages)


def test_a_late_peer_that_listens_is_waited_for() -> None:
    """Ranks that wait knock at it meanwhile, and disturb nobody."""
    listeners = [Listener() for _ in range(3)]
    addresses = [listener.address for listener in listeners]

    def come(rank: int) -> Ring:
        time.sleep(5 if rank == 2 else 0)
        return Ring.connect(listeners[rank], rank, addresses, SECRET, timeout=50)

    rings = in_threads([lambda rank=rank: come(rank) for rank in range(3)])
    sums = in_threads([lambda ring=ring: ring.all_gather(b"x") for ring in rings])
    assert [list(map(bytes, one)) for one in sums] == 3 * [[b"x"] * 3]
    for ring in rings:
        ring.close()


def test_a_peer_that_dies_while_others_still_connect() -> None:
    listeners = [Listener() for _ in range(3)]
    addresses = [listener.address for listener in listeners]

    def short_lived() -> None:
        Ring.connect(listeners[1], 1, addresses, SECRET, timeout=1)

    calls = [lambda: Ring.connect(listeners[0], 0, addresses, SECRET, timeout=40), short_lived]
    begin = time.monotonic()
    messages = [lost(result) for result in in_threads(calls)]
    assert time.monotonic() - begin < 5
    assert "rank 1 at" in messages[0] and "rank 2 at" in messages[1]
    listeners[2].close()


def test_closing_the_listener_stops_connecting() -> None:
    listeners = [Listener() for _ in range(2)]
    timer = threading.Timer(0.3, listeners[0].close)
    timer.start()
    addresses = [listener.address for listener in listeners]
    result = in_threads([lambda: Ring.connect(listeners[0], 0, addresses, SECRET, timeout=40)])[0]
    assert "listener closed" in lost(result)
    listeners[1].close()
    timer.join()


def test_strangers_disturb_nobody() -> None:
    """Some come before the peers and say nothing, or garbage; one comes with another secret."""
    listeners = [Listener() for _ in range(3)]
    strangers = [plain_connection(listeners[0].address) for _ in range(10)]
    strangers += [plain_connection(listeners[1].address) for _ in range(10)]
    for number, stranger in enumerate(strangers):
        if number % 2:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
    addresses = [listener.address for listener in listeners]
    own = Listener()

    def false_peer() -> None:
        # It takes itself for rank 2 of this ring, and has everything but the secret.
        Ring.connect(own, 2, addresses, b"x" * 32, timeout=10)

    def peer(rank: int) -> Ring:
        if rank == 2:
            time.sleep(1)
        return Ring.connect(listeners[rank], rank, addresses, SECRET, timeout=30)

    begin = time.monotonic()
    *rings, refused = in_threads([*(lambda r=rank: peer(r) for rank in range(3)), false_peer])
    assert time.monotonic() - begin < 5
    lost(refused)
    assert_is_sum(on_all(rings, reduce_values, 7, "float32"), 7, "float32")
    for closable in (*rings, *strangers):
        closable.close()


def test_silent_strangers_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.orca.worker.collective.mesh.STRANGER_SECONDS", 0.5)
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    stranger = plain_connection(addresses[0])

    def wait_for_the_end() -> float:
        begin = time.monotonic()
        while stranger.recv(1000):
            pass
        return time.monotonic() - begin

    calls = [
        lambda: Ring.connect(listeners[0], 0, addresses, SECRET, timeout=3),
        wait_for_the_end,
    ]
    result, seconds = in_threads(calls)
    lost(result)
    assert seconds < 2
    stranger.close()
    listeners[1].close()


def test_a_stranger_that_listens_in_a_dead_peers_place() -> None:
    """Its port was given to another program, or another job's ring, after the peer had died."""
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    other = [listeners[0].address, ("127.0.0.1", 1)]
    calls = [
        lambda: Ring.connect(listeners[1], 1, addresses, SECRET, timeout=4),
        lambda: Ring.connect(listeners[0], 0, other, b"x" * 32, timeout=4),
    ]
    for result in in_threads(calls):
        lost(result)


def test_rings_of_another_job_do_not_mix() -> None:
    """Same secret, other members: a rank left over from an earlier try of the stage."""
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]
    stale = [listeners[0].address, ("127.0.0.1", 9)]
    own = Listener()
    calls = [
        lambda: Ring.connect(own, 1, stale, SECRET, timeout=5),
        lambda: Ring.connect(listeners[0], 0, addresses, SECRET, timeout=20),
        lambda: (time.sleep(1), Ring.connect(listeners[1], 1, addresses, SECRET, timeout=20))[1],
    ]
    left_over, *rings = in_threads(calls)
    lost(left_over)
    assert_is_sum(on_all(rings, reduce_values, 7, "float32"), 7, "float32")
    for ring in rings:
        ring.close()


def test_connect_closes_the_listener() -> None:
    listeners = [Listener() for _ in range(2)]
    rings = connect_all(listeners)
    with pytest.raises(ConnectionRefusedError):
        plain_connection(listeners[0].address)
    for ring in rings:
        ring.close()


@pytest.mark.slow
def test_a_peer_that_computes_for_long_is_not_lost() -> None:
    """TCP_USER_TIMEOUT (10 s) ends connections to healthy peers whose receive window is full."""
    with process_ring(2, share_memory=False) as ranks:
        ranks[0].start(reduce_values, 5_000_000, "float32")
        time.sleep(16)
        ranks[1].start(reduce_values, 5_000_000, "float32")
        assert_is_sum([rank.result() for rank in ranks], 5_000_000, "float32")


@pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="Linux alone tells")
def test_links_do_not_use_bbr() -> None:
    listener = Listener()
    with socket.create_connection(listener.address):
        accepted = None
        while accepted is None:
            accepted = listener.accept()
        name = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        accepted.close()
    listener.close()
    assert name.rstrip(b"\0") != b"bbr"
