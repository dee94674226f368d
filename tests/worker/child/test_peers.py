"""Peers that are met before, while and after their job fails."""

import threading
from typing import Any

import pytest

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.pipe import Connect
from zoo.orca.worker.child import peers as module
from zoo.orca.worker.child.peers import Peers

pytestmark = pytest.mark.timeout(30)

CONNECT = Connect(addresses=(("127.0.0.1", 1), ("127.0.0.1", 2)), secret=b"ab" * 16, timeout=20.0)


class Letters:
    """One message, which may come late."""

    def __init__(self) -> None:
        self.there = threading.Event()

    def take(self, *kinds: Any) -> Connect:
        self.there.wait()
        return CONNECT


class Met:
    """In the place of a ring; being met takes until it is allowed."""

    def __init__(self) -> None:
        self.begun, self.allowed, self.closed = (threading.Event() for _ in range(3))

    def connect(self, *arguments: Any, **options: Any) -> "Met":
        self.begun.set()
        self.allowed.wait()
        return self

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> Met:
    found = Met()
    monkeypatch.setattr(module, "Ring", found)
    return found


def test_peers_that_were_met_are_left_when_the_job_fails(met: Met) -> None:
    met.allowed.set()
    peers, letters = Peers("127.0.0.1", 0, 2), Letters()
    letters.there.set()
    peers.begin(letters)  # type: ignore[arg-type]
    peers.end()
    assert not met.closed.is_set()
    peers.abort()
    assert met.closed.is_set()


def test_peers_that_are_met_after_the_failure_are_left_at_once(met: Met) -> None:
    peers, letters = Peers("127.0.0.1", 0, 2), Letters()
    letters.there.set()
    peers.begin(letters)  # type: ignore[arg-type]
    assert met.begun.wait(10)
    peers.abort()
    met.allowed.set()
    assert met.closed.wait(10)
    with pytest.raises(PeerLostError, match="never met"):
        peers.end()


def test_addresses_that_come_after_the_failure_begin_nothing(met: Met) -> None:
    peers, letters = Peers("127.0.0.1", 0, 2), Letters()
    peers.begin(letters)  # type: ignore[arg-type]
    peers.abort()
    letters.there.set()
    with pytest.raises(PeerLostError, match="never met"):
        peers.end()
    assert not met.begun.is_set()
