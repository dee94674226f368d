"""The handshake: who knows the secret gets in, whoever does not learns nothing."""

from __future__ import annotations

import ast
import inspect
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire import handshake as module
from zoo.orca.wire.handshake import (
    MAX_HELLO,
    Handshake,
    HandshakeError,
    Receive,
    Send,
    accept,
    drive,
    initiate,
)

pytestmark = pytest.mark.timeout(60)

SECRET = b"s" * 32
OTHER_SECRET = b"o" * 32


class Side:
    """One end: a handshake, what it received and whether it is over."""

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.inbox = bytearray()
        self.sent: list[bytes] = []
        self.hello: bytes | None = None
        self.wanted: Send | Receive | None = next(handshake)

    def step(self) -> bytes | None:
        """Do one thing; return what was sent, b"" after receiving, None if it must wait."""
        answer = b""
        if isinstance(self.wanted, Receive):
            if len(self.inbox) < self.wanted.size:
                return None
            answer = bytes(self.inbox[: self.wanted.size])
            del self.inbox[: self.wanted.size]
        elif self.wanted is None:
            return None
        out = self.wanted.data if isinstance(self.wanted, Send) else b""
        try:
            self.wanted = self.handshake.send(answer)
        except StopIteration as done:
            self.wanted, self.hello = None, done.value
        if out:
            self.sent.append(out)
        return out


def converse(one: Side, two: Side) -> None:
    """Let both talk until both are over or both wait."""
    stuck = 0
    sides = deque([(one, two), (two, one)])
    while stuck < 2:
        side, other = sides[0]
        out = side.step()
        stuck = stuck + 1 if out is None else 0
        other.inbox += out or b""
        if out is None:
            sides.rotate()


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(min_size=16, max_size=64))
def test_both_learn_the_others_hello(mine: bytes, theirs: bytes, secret: bytes) -> None:
    one = Side(initiate(secret, mine, purpose="ring"))
    two = Side(accept(secret, theirs, purpose="ring"))
    converse(one, two)
    assert (one.hello, two.hello) == (theirs, mine)
    assert not one.inbox and not two.inbox


def test_longest_hello() -> None:
    one = Side(initiate(SECRET, b"x" * MAX_HELLO, purpose="ring"))
    two = Side(accept(SECRET, b"y" * MAX_HELLO, purpose="ring"))
    converse(one, two)
    assert one.hello == b"y" * MAX_HELLO and two.hello == b"x" * MAX_HELLO


def test_stranger_who_connects_learns_nothing_made_with_the_secret() -> None:
    stranger = Side(initiate(OTHER_SECRET, b"hello", purpose="ring"))
    acceptor = Side(accept(SECRET, b"private", purpose="ring"))
    with pytest.raises(HandshakeError, match="does not know"):
        converse(stranger, acceptor)
    assert len(acceptor.sent) == 1
    assert b"private" not in acceptor.sent[0]


def test_false_acceptor_is_found() -> None:
    initiator = Side(initiate(SECRET, purpose="ring"))
    fake = Side(accept(OTHER_SECRET, purpose="ring"))
    with pytest.raises(HandshakeError, match="does not know"):
        converse(initiator, fake)


def test_reflection_is_refused() -> None:
    """Whoever sends everything back verbatim does not pass for a peer."""
    victim = Side(initiate(SECRET, b"hello", purpose="ring"))
    with pytest.raises(HandshakeError, match="does not know"):
        while (out := victim.step()) is not None:
            victim.inbox += out
    silent = Side(accept(SECRET, b"hello", purpose="ring"))
    while (out := silent.step()) is not None:
        silent.inbox += out
    assert silent.hello is None, "it has sent no proof that could come back"


def test_two_initiators_and_two_acceptors_refuse_each_other() -> None:
    with pytest.raises(HandshakeError):
        converse(Side(initiate(SECRET, purpose="ring")), Side(initiate(SECRET, purpose="ring")))
    one, two = Side(accept(SECRET, purpose="ring")), Side(accept(SECRET, purpose="ring"))
    converse(one, two)
    assert one.hello is None and two.hello is None


def test_purpose_must_match() -> None:
    with pytest.raises(HandshakeError, match="ring"):
        converse(Side(initiate(SECRET, purpose="ring")), Side(accept(SECRET, purpose="progress")))


def test_replay_of_a_recorded_conversation_is_refused() -> None:
    one = Side(initiate(SECRET, b"hello", purpose="ring"))
    two = Side(accept(SECRET, purpose="ring"))
    converse(one, two)
    again = Side(accept(SECRET, purpose="ring"))
    again.inbox += b"".join(one.sent)
    with pytest.raises(HandshakeError, match="does not know"):
        while again.step() is not None:
            pass


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    one = Side(initiate(SECRET, b"rank 1", purpose="ring"))
    two = Side(accept(SECRET, b"rank 0", purpose="ring"))
    # Sent in turns, so that every byte of both directions can be the changed one.
    total, position = 0, data.draw(st.integers(0, 167))
    flip = data.draw(st.integers(1, 255))
    sides = [(one, two), (two, one)]
    refused = False
    for _ in range(40):
        for side, other in sides:
            try:
                out = side.step()
            except HandshakeError:
                refused = True
                out = None
            if out:
                changed = bytearray(out)
                if total <= position < total + len(out):
                    changed[position - total] ^= flip
                total += len(out)
                other.inbox += changed
        if refused:
            break
    assert refused or one.hello is None or two.hello is None


@given(st.binary(min_size=48, max_size=400))
def test_garbage_is_refused(garbage: bytes) -> None:
    side = Side(accept(SECRET, purpose="ring"))
    side.inbox += garbage
    with pytest.raises(HandshakeError, match="does not speak"):
        while side.step() is not None:
            pass


def test_drive_over_blocking_functions() -> None:
    other = Side(accept(SECRET, b"acceptor", purpose="progress"))
    mine = bytearray()

    def send(data: bytes) -> None:
        other.inbox += data
        receive(0)

    def receive(size: int) -> bytes:
        while (out := other.step()) is not None:
            mine.extend(out)
        taken = bytes(mine[:size])
        del mine[:size]
        return taken

    assert drive(initiate(SECRET, b"me", purpose="progress"), send, receive) == b"acceptor"
    assert other.hello == b"me"


def test_drive_reports_a_connection_that_ends() -> None:
    with pytest.raises(HandshakeError, match="closed"):
        drive(initiate(SECRET, purpose="ring"), lambda data: None, lambda size: b"")


def test_arguments_are_checked_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="secret"):
        initiate(b"short", purpose="ring")
    with pytest.raises(ValueError, match="hello"):
        accept(SECRET, b"x" * (MAX_HELLO + 1), purpose="ring")
    for purpose in ("", "much too long"):
        with pytest.raises(ValueError, match="purpose"):
            initiate(SECRET, purpose=purpose)


def test_no_socket_in_here() -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert not imported & {"socket", "select", "selectors", "ssl"}
