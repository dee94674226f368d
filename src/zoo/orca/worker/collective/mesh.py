"""From addresses to a mesh of authenticated links, each to each or as far as they are needed.

Every rank connects to its lower peers and accepts connections from its higher ones. One thread
serves all half-open connections at once. Each handshake continues when its bytes arrive. A stranger
that sends nothing costs one file descriptor for a few seconds and delays no other rank.

A higher rank may die before it connects. Nothing would tell the lower ones, which would wait for it
as long as for one that is late. So they knock at its listener, which is open until it has met all.
"""

import errno
import hashlib
import json
import os
import selectors
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from zoo.orca.encryption.tls import contexts_of
from zoo.orca.errors import PeerLostError
from zoo.orca.wire.handshake import Handshake, HandshakeError, Send, accept, initiate
from zoo.orca.wire.strangers import MOST_STRANGERS, Strangers
from zoo.orca.worker.collective.encrypted import EncryptedLink, EncryptedSocket
from zoo.orca.worker.collective.sockets import Link, Listener, start_connecting

#: Seconds in which an accepted connection must authenticate itself.
STRANGER_SECONDS = 10.0
#: Seconds of refusals after which a peer counts as gone. It listened before it gave its address.
REFUSAL_SECONDS = 2.0
_RETRY_SECONDS = 0.1
#: Seconds between two knocks at a rank that has not come yet.
_KNOCK_SECONDS = 1.0
_PURPOSE = "ring"
_REFUSED = (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE)


class _Opening:
    """One connection in its handshake; `rank` is None for accepted ones."""

    def __init__(
        self,
        sock: socket.socket,
        encrypted: EncryptedSocket | None,
        handshake: Handshake,
        rank: int | None,
    ) -> None:
        self.sock = sock
        self.encrypted = encrypted
        self.rank = rank
        #: The other end has said something: it is there, even if it ends the connection.
        self.heard = False
        self.hello: bytes | None = None
        self._bytes: socket.socket | EncryptedSocket = encrypted or sock
        self._handshake = handshake
        self._outbox = b""
        self._inbox = b""
        self._missing = 0
        self._continue()

    def _continue(self) -> None:
        """Continue the handshake until it needs bytes or is done."""
        try:
            wanted = self._handshake.send(self._inbox) if self._inbox else next(self._handshake)
            while isinstance(wanted, Send):
                self._outbox += wanted.data
                wanted = next(self._handshake)
            self._inbox, self._missing = b"", wanted.size
        except StopIteration as done:
            self.hello, self._missing = done.value, 0

    @property
    def events(self) -> int:
        """The events to wait for; 0 if the handshake is over and nothing is left to send."""
        waits = selectors.EVENT_READ if self.hello is None else 0
        return waits | (selectors.EVENT_WRITE if self._must_send else 0)

    @property
    def _must_send(self) -> bool:
        """Whether the kernel must take bytes; TLS's handshake comes before ours."""
        if self.encrypted is None:
            return bool(self._outbox)
        return self.encrypted.holds or bool(self._outbox and self.encrypted.established)

    def advance(self) -> None:
        """Send and receive what is possible without waiting.

        Raises
        ------
        OSError, HandshakeError
            The connection failed, ended, or is not a peer's.
        """
        try:
            while self.events:
                if self._outbox or self._must_send:
                    self._outbox = self._outbox[self._bytes.send(self._outbox) :]
                if self.hello is None:
                    data = self._bytes.recv(self._missing)
                    if not data:
                        raise ConnectionResetError(errno.ECONNRESET, "closed in mid-handshake")
                    self.heard = True
                    self._inbox += data
                    self._missing -= len(data)
                    if not self._missing:
                        self._continue()
        except BlockingIOError:
            return
        except ssl.SSLError as error:  # the other end does not know our certificate, and says so
            raise HandshakeError(f"it ended the connection: {error.reason}") from error

    def link(self, rank: int, address: tuple[str, int]) -> Link:
        """Return the link that follows the handshake."""
        if self.encrypted is None:
            return Link(rank, address, self.sock)
        return EncryptedLink(rank, address, self.encrypted)


@dataclass(frozen=True, slots=True)
class _Knock:
    """A connection that only finds out whether a rank still listens."""

    sock: socket.socket
    rank: int


class Mesh:
    """Connects one rank with its peers; see :func:`connect`."""

    def __init__(
        self,
        listener: Listener,
        rank: int,
        addresses: Sequence[tuple[str, int]],
        secret: bytes,
        timeout: float,
        identity: str,
        peers: Collection[int],
    ) -> None:
        self._peers = frozenset(peers)
        higher = [peer for peer in peers if peer > rank]
        self._contexts = contexts_of(identity)
        self._listener = listener
        self._rank = rank
        self._addresses = addresses
        self._secret = secret
        self._timeout = timeout
        self._links: dict[int, Link] = {}
        self._openings: set[_Opening] = set()
        # All higher peers may come at the same time.
        self._strangers: Strangers[_Opening] = Strangers(
            STRANGER_SECONDS, MOST_STRANGERS + len(higher)
        )
        self._listens = True
        self._retry_at = {peer: 0.0 for peer in peers if peer < rank}
        self._knock_at = dict.fromkeys(higher, time.monotonic() + _KNOCK_SECONDS)
        self._knocks: set[_Knock] = set()
        self._refused_since: dict[int, float] = {}
        self._unreachable: dict[int, str] = {}
        self._ring = hashlib.sha256(json.dumps([list(a) for a in addresses]).encode()).hexdigest()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> list[Link]:
        """Return the links in rank order once all are there."""
        deadline = time.monotonic() + self._timeout
        while len(self._links) < len(self._peers):
            now = time.monotonic()
            if now > deadline:
                raise self._timed_out()
            if self._listener.fileno() < 0:
                raise PeerLostError(f"rank {self._rank} stopped connecting: its listener closed")
            self._dismiss_strangers(now)
            self._listen(self._strangers.may_accept(now))
            self._connect_where_due(now)
            self._knock_where_due(now)
            for key, _ in self._selector.select(min(_RETRY_SECONDS, deadline - now)):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Opening):
                    self._advance(key.data)
                elif isinstance(key.data, _Knock):
                    self._knocked(key.data)
                else:
                    self._watch(key.data)
        return [self._links[rank] for rank in sorted(self._links)]

    def close(self, *, failed: bool) -> None:
        """Drop half-open connections; after a failure also the links, so that peers notice."""
        self._selector.close()
        for opening in self._openings:
            opening.sock.close()
        for knock in self._knocks:
            knock.sock.close()
        for link in self._links.values() if failed else ():
            link.close()

    def _hello(self) -> bytes:
        return json.dumps({"rank": self._rank, "ring": self._ring}).encode()

    def _accept(self) -> None:
        """Accept who waits, as long as there is room; without it, peers wait in the queue."""
        while self._strangers.may_accept(now := time.monotonic()):
            try:
                sock = self._listener.accept()
            except OSError as error:
                self._strangers.fail(error, now)
                return
            if sock is None:
                return
            self._open(sock, accept(self._secret, self._hello(), purpose=_PURPOSE), None)

    def _listen(self, listens: bool) -> None:
        """Watch the listener, or let those who come wait in the kernel's queue."""
        if listens and not self._listens:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._listens and not listens:
            self._selector.unregister(self._listener)
        self._listens = listens

    def _connect_where_due(self, now: float) -> None:
        """Start every connection that is due; each rank has at most one in progress."""
        for rank in [rank for rank, due in self._retry_at.items() if due <= now]:
            try:
                sock, code = start_connecting(self._addresses[rank])
            except OSError as error:  # the name does not resolve, or not yet
                self._refuse(rank, error)
                continue
            if code not in (0, errno.EINPROGRESS):
                sock.close()
                self._refuse(rank, OSError(code, os.strerror(code)))
                continue
            del self._retry_at[rank]
            self._open(sock, initiate(self._secret, self._hello(), purpose=_PURPOSE), rank)

    def _knock_where_due(self, now: float) -> None:
        for rank in [rank for rank, due in self._knock_at.items() if due <= now]:
            self._knock_at[rank] = now + _KNOCK_SECONDS
            if rank in self._links:
                del self._knock_at[rank]
                continue
            try:
                sock, code = start_connecting(self._addresses[rank])
            except OSError:  # the name does not resolve: it will, or the time limit tells
                continue
            knock = _Knock(sock, rank)
            if code == errno.EINPROGRESS:
                self._knocks.add(knock)
                self._selector.register(sock, selectors.EVENT_WRITE, knock)
            else:
                sock.close()
                self._note_knock(rank, code)

    def _knocked(self, knock: _Knock) -> None:
        code = knock.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._selector.unregister(knock.sock)
        self._knocks.discard(knock)
        knock.sock.close()
        self._note_knock(knock.rank, code)

    def _note_knock(self, rank: int, code: int) -> None:
        """Note whether a rank that has not come still listens; it is gone if it does not."""
        if rank in self._links or code not in _REFUSED:
            self._refused_since.pop(rank, None)
            return
        now = time.monotonic()
        if now - self._refused_since.setdefault(rank, now) > REFUSAL_SECONDS:
            raise self._lost(rank, f"does not listen any more: {os.strerror(code)}")

    def _open(self, sock: socket.socket, handshake: Handshake, rank: int | None) -> None:
        encrypted = None
        if self._contexts is not None:
            encrypted = EncryptedSocket(sock, self._contexts, accepts=rank is None)
        opening = _Opening(sock, encrypted, handshake, rank)
        self._openings.add(opening)
        if rank is None:
            self._strangers.add(opening, time.monotonic())
        self._selector.register(sock, opening.events, opening)

    def _advance(self, opening: _Opening) -> None:
        """Continue `opening`: reject it, retry it, or make it a link."""
        try:
            opening.advance()
            if opening.events:
                self._selector.modify(opening.sock, opening.events, opening)
            elif opening.hello is not None:
                self._admit(opening, opening.hello)
        except HandshakeError as error:
            self._drop(opening)
            if opening.rank is not None:
                raise self._lost(opening.rank, f"is not who it should be: {error}") from error
        except OSError as error:
            self._drop(opening)
            if opening.rank is not None:
                if opening.heard:  # a peer that many strangers disturb may have hung up
                    self._refused_since.pop(opening.rank, None)
                self._refuse(opening.rank, error)

    def _admit(self, opening: _Opening, hello: bytes) -> None:
        """Make an authenticated connection a link, if it belongs to this ring."""
        said = json.loads(hello)
        rank = said["rank"]
        if opening.rank is None:
            expected = rank > self._rank and rank in self._peers - self._links.keys()
        else:
            expected = rank == opening.rank
        if not expected or said["ring"] != self._ring:
            raise HandshakeError(f"it is rank {rank} of another ring, or twice of this one")
        self._forget(opening)
        link = self._links[rank] = opening.link(rank, self._addresses[rank])
        self._selector.modify(opening.sock, selectors.EVENT_READ, link)

    def _watch(self, link: Link) -> None:
        """Check a finished link that became readable while others are still missing."""
        if link.peek(1) == b"":
            raise link.lost()
        # The peer has finished and begins its first operation, which the ring will read.
        self._selector.unregister(link.fd)

    def _drop(self, opening: _Opening) -> None:
        self._selector.unregister(opening.sock)
        self._forget(opening)
        opening.sock.close()

    def _forget(self, opening: _Opening) -> None:
        self._openings.discard(opening)
        self._strangers.discard(opening)

    def _dismiss_strangers(self, now: float) -> None:
        for opening in self._strangers.to_drop(now):
            self._drop(opening)

    def _refuse(self, rank: int, error: OSError) -> None:
        """Note a refused connection to `rank`; give up after too many seconds of refusals."""
        now = time.monotonic()
        if error.errno in _REFUSED:
            since = self._refused_since.setdefault(rank, now)
            if now - since > REFUSAL_SECONDS:
                raise self._lost(rank, f"refuses connections: {error.strerror}") from error
        else:
            self._refused_since.pop(rank, None)  # unreachable for now: a route may still appear
            self._unreachable[rank] = error.strerror or str(error)
        self._retry_at[rank] = now + _RETRY_SECONDS

    def _lost(self, rank: int, what: str) -> PeerLostError:
        host, port = self._addresses[rank]
        return PeerLostError(f"rank {rank} at {host}:{port} {what}", rank=rank, host=host)

    def _timed_out(self) -> PeerLostError:
        missing = self._peers - self._links.keys()
        first, *others = sorted(missing)
        also = f"; neither did ranks {', '.join(map(str, others))}" if others else ""
        why = f" ({self._unreachable[first]})" if first in self._unreachable else ""
        return self._lost(first, f"did not come to the ring within {self._timeout:g} s{why}{also}")


def connect(
    listener: Listener,
    rank: int,
    addresses: Sequence[tuple[str, int]],
    secret: bytes,
    timeout: float,
    identity: str = "",
    peers: Collection[int] | None = None,
) -> list[Link]:
    """Return links to `peers`, by default all other ranks, in rank order; called on all ranks.

    With an `identity` they are encrypted (`zoo.orca.encryption`). A rank is its peers' peer.

    Raises
    ------
    PeerLostError
        A peer did not connect in time, refuses connections, or does not know the secret.
    """
    if peers is None:
        peers = set(range(len(addresses))) - {rank}
    mesh = Mesh(listener, rank, addresses, secret, timeout, identity, peers)
    failed = True
    try:
        links = mesh.run()
        failed = False
        return links
    finally:
        mesh.close(failed=failed)
