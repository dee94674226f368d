"""Proves to both ends of a connection that the other one knows the job's secret.

::

    both             magic + version + purpose         nonce
    initiator   ->   length, hello        HMAC(secret, "initiator", transcript, hello)
    acceptor    <-   length, hello        HMAC(secret, "acceptor",  transcript, hello)

The transcript is everything sent before, so neither nonces nor hellos can be swapped. A proof holds
for one side of one connection of one purpose. It is worthless if it is sent back, or on to another
listener of the same job. The initiator proves itself first, so a port scanner gets a nonce and
nothing made with the secret. The handshake keeps out strangers, not eavesdroppers on the cluster's
network: those are kept out by TLS below it, where the job is encrypted (`zoo/orca/encryption.py`).

Nothing here touches a socket: :func:`initiate` and :func:`accept` are generators that say what they
want next. So one thread can serve many half-open connections, as a worker does when it meets its
peers. :func:`drive` runs one handshake over blocking functions.
"""

import hmac
import secrets
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

from zoo.orca.errors import OrcaError

#: Longest hello, in bytes.
MAX_HELLO = (1 << 16) - 1
_MAGIC = b"orca-hs\x01"
_NONCE_BYTES = 32
_MAC_BYTES = 32
_MIN_SECRET = 16
_LENGTH = struct.Struct("<H")
_PURPOSE_BYTES = 8


class HandshakeError(OrcaError):
    """The other end is not Orca, not of this version, or does not know the secret."""


@dataclass(frozen=True, slots=True)
class Send:
    """The handshake wants these bytes sent."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """The handshake wants exactly `size` bytes, sent into the generator."""

    size: int


#: Yields what it wants, gets the bytes received (b"" after a `Send`), returns the other's hello.
Handshake: TypeAlias = Generator[Send | Receive, bytes, bytes]


def initiate(secret: bytes, hello: bytes = b"", *, purpose: str) -> Handshake:
    """Return the handshake of the side that connected.

    Parameters
    ----------
    secret : bytes
        Shared by both sides; at least 16 bytes.
    hello : bytes
        Sent to the other side, authenticated but not encrypted.
    purpose : str
        What the connection is for, at most 8 ASCII letters; both sides must agree.

    Raises
    ------
    HandshakeError
        While it runs, if the other side fails the handshake.
    """
    return _initiate(secret, hello, _start(secret, hello, purpose), purpose)


def accept(secret: bytes, hello: bytes = b"", *, purpose: str) -> Handshake:
    """Return the handshake of the side that accepted; see :func:`initiate`."""
    return _accept(secret, hello, _start(secret, hello, purpose), purpose)


def drive(
    handshake: Handshake,
    send_exact: Callable[[bytes], object],
    recv_exact: Callable[[int], bytes],
) -> bytes:
    """Run `handshake` over blocking functions and return the other side's hello.

    The caller must set a time limit on its connection: a stranger may send nothing, or slowly.

    Parameters
    ----------
    handshake : generator
        From :func:`initiate` or :func:`accept`.
    send_exact : callable
        Sends all the bytes, for example ``socket.sendall``.
    recv_exact : callable
        Returns exactly that many bytes, or raises; fewer mean that the connection ended.

    Raises
    ------
    HandshakeError
        If the other side fails the handshake, or disconnects.
    """
    answer = b""
    try:
        wanted = next(handshake)
        while True:
            if isinstance(wanted, Send):
                send_exact(wanted.data)
                answer = b""
            else:
                answer = recv_exact(wanted.size)
                if len(answer) != wanted.size:
                    raise HandshakeError("the other end closed the connection in mid-handshake")
            wanted = handshake.send(answer)
    except StopIteration as done:
        hello: bytes = done.value
        return hello
    finally:
        handshake.close()


def _initiate(secret: bytes, hello: bytes, start: bytes, purpose: str) -> Handshake:
    yield Send(start)
    transcript = start + (yield from _receive_start(purpose))
    yield Send(_prove(secret, b"initiator", transcript, hello))
    return (yield from _verify(secret, b"acceptor", transcript + _framed(hello)))


def _accept(secret: bytes, hello: bytes, start: bytes, purpose: str) -> Handshake:
    yield Send(start)
    transcript = (yield from _receive_start(purpose)) + start
    theirs = yield from _verify(secret, b"initiator", transcript)
    yield Send(_prove(secret, b"acceptor", transcript + _framed(theirs), hello))
    return theirs


def _start(secret: bytes, hello: bytes, purpose: str) -> bytes:
    """Check the arguments; return magic, purpose and a fresh nonce."""
    if len(secret) < _MIN_SECRET:
        raise ValueError(f"secret: at least {_MIN_SECRET} bytes, not {len(secret)}")
    if len(hello) > MAX_HELLO:
        raise ValueError(f"hello: at most {MAX_HELLO} bytes, not {len(hello)}")
    return _prefix(purpose) + secrets.token_bytes(_NONCE_BYTES)


def _prefix(purpose: str) -> bytes:
    """Return what every handshake of this version and purpose starts with."""
    name = purpose.encode("ascii")
    if not 0 < len(name) <= _PURPOSE_BYTES:
        raise ValueError(f"purpose: 1 to {_PURPOSE_BYTES} ASCII letters, not {purpose!r}")
    return _MAGIC + name.ljust(_PURPOSE_BYTES, b"\0")


def _receive_start(purpose: str) -> Generator[Send | Receive, bytes, bytes]:
    """Receive the other's start; refuse a wrong prefix before anything else is read."""
    expected = _prefix(purpose)
    prefix = yield Receive(len(expected))
    if prefix != expected:
        raise HandshakeError(
            f"the other end does not speak this version of Orca's handshake for {purpose!r}: "
            f"it began with {prefix!r} instead of {expected!r}"
        )
    return prefix + (yield Receive(_NONCE_BYTES))


def _framed(hello: bytes) -> bytes:
    return _LENGTH.pack(len(hello)) + hello


def _mac(secret: bytes, role: bytes, transcript: bytes, framed: bytes) -> bytes:
    """Return the proof; it starts with the role, so the two sides' proofs always differ."""
    return hmac.digest(secret, role + b"\0" + transcript + framed, "sha256")


def _prove(secret: bytes, role: bytes, transcript: bytes, hello: bytes) -> bytes:
    framed = _framed(hello)
    return framed + _mac(secret, role, transcript, framed)


def _verify(
    secret: bytes, role: bytes, transcript: bytes
) -> Generator[Send | Receive, bytes, bytes]:
    """Receive the other's hello and proof; return the hello once the proof holds."""
    framed = yield Receive(_LENGTH.size)
    (size,) = _LENGTH.unpack(framed)
    if size:
        framed += yield Receive(size)
    mac = yield Receive(_MAC_BYTES)
    # compare_digest: the time of a refusal must not reveal how much of a guess was right.
    if not hmac.compare_digest(mac, _mac(secret, role, transcript, framed)):
        raise HandshakeError("the other end does not know this job's secret")
    return framed[_LENGTH.size :]
