"""Links of the ring behind TLS: non-blocking, in the one thread that also moves the data.

A link in clear leaves everything to the kernel: what it does not take is not sent, what it holds is
readable. Behind TLS there are two more places. What was encrypted but not yet taken by the kernel
is *held*; tasks that send end only when nothing is (`transfers.py`). What has arrived but was not
yet asked for is in OpenSSL, where `poll` does not see it; so every read looks there first, and a
task waits for the socket only when both are empty.
"""

import contextlib
import errno
import socket
import ssl
from typing import Any, Final

from zoo.orca.encryption.tls import Contexts, Tunnel
from zoo.orca.errors import PeerLostError
from zoo.orca.wire.handshake import HandshakeError
from zoo.orca.worker.collective.sockets import Link

#: Bytes that are encrypted at once; between two pieces other tasks get their turn.
_PLAIN_BYTES: Final = 128 << 10
_CIPHER_BYTES: Final = 128 << 10


class EncryptedSocket:
    """A non-blocking socket behind TLS, with the methods that a link and its opening call.

    As those of a socket, they raise `BlockingIOError` where they would wait.

    Parameters
    ----------
    sock : socket
        Connected, or about to be.
    contexts : Contexts
    accepts : bool
        Whether this end has accepted the connection.
    """

    def __init__(self, sock: socket.socket, contexts: Contexts, *, accepts: bool) -> None:
        self.socket = sock
        self._tunnel = Tunnel(contexts, accepts=accepts)
        self._held = memoryview(b"")
        self._arriving = memoryview(bytearray(_CIPHER_BYTES))
        self._peeked = b""
        self._ended = False
        if not accepts:  # this side speaks first, once it is connected
            self._tunnel.shake()
            self._held = memoryview(self._tunnel.outgoing())

    @property
    def established(self) -> bool:
        """Whether TLS's own handshake is over."""
        return self._tunnel.established

    @property
    def holds(self) -> bool:
        """Whether encrypted bytes wait until the kernel takes them; `send` tries again."""
        return len(self._held) > 0

    def send(self, data: Any) -> int:
        """Send what was held, then some of `data`; return how much of that is sent or held."""
        self._shake()
        self._flush()
        part = data[:_PLAIN_BYTES]
        self._tunnel.encrypt(part)
        with contextlib.suppress(BlockingIOError):
            self._flush()
        return len(part)

    def recv_into(self, view: memoryview) -> int:
        """Receive what is there into `view`, which is not empty; 0 at the end."""
        if self._peeked:
            count = min(len(view), len(self._peeked))
            view[:count], self._peeked = self._peeked[:count], self._peeked[count:]
            return count
        self._shake()
        while not (count := self._tunnel.decrypt(view)):
            self._fetch()
            if self._ended:
                return 0
        return count

    def recv(self, size: int) -> bytes:
        """Receive at most `size` bytes; b"" at the end."""
        view = memoryview(bytearray(size))
        return bytes(view[: self.recv_into(view)])

    def peek(self, size: int) -> bytes | None:
        """Return the readable bytes, which stay: b"" at the end, None if there are none."""
        found, self._peeked = self._peeked, b""
        try:
            while len(found) < size and (more := self.recv(size - len(found))):
                found += more
        except BlockingIOError:
            return found or None
        finally:
            self._peeked = found
        return found[:size]

    def _shake(self) -> None:
        """Return once TLS's handshake is over."""
        while not self._tunnel.established:
            try:
                self._tunnel.shake()
            except HandshakeError:
                with contextlib.suppress(OSError):
                    self._flush()  # tells the other end why
                raise
            self._flush()
            if not self._tunnel.established:
                self._fetch()
                if self._ended:
                    raise ConnectionResetError(errno.ECONNRESET, "closed in mid-handshake")

    def _flush(self) -> None:
        """Give the kernel all that is encrypted."""
        while True:
            self._held = self._held or memoryview(self._tunnel.outgoing())
            if not self._held:
                return
            self._held = self._held[self.socket.send(self._held) :]

    def _fetch(self) -> None:
        """Give TLS what has arrived, or note the end."""
        if count := self.socket.recv_into(self._arriving):
            self._tunnel.take(self._arriving[:count])
        else:
            self._ended = True


class EncryptedLink(Link):
    """A link behind TLS; see :class:`Link`.

    Parameters
    ----------
    rank : int
    address : tuple of str and int
    sock : EncryptedSocket
    """

    def __init__(self, rank: int, address: tuple[str, int], sock: EncryptedSocket) -> None:
        super().__init__(rank, address, sock.socket)
        self._encrypted = sock

    def send(self, *parts: Any) -> int:
        """Send from the start of `parts`; what the kernel does not take is held."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        try:
            return self._encrypted.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.lost(error) from error
        finally:
            self.holds = self._encrypted.holds

    def receive(self, view: memoryview) -> int:
        """Receive what is there into `view`, which is not empty; return 0 if nothing is."""
        try:
            count = self._encrypted.recv_into(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.lost(error) from error
        if not count:
            raise self.lost()
        return count

    def peek(self, size: int) -> bytes | None:
        """Return the readable bytes: b"" if the peer has closed, None if there are none."""
        try:
            return self._encrypted.peek(size)
        except OSError as error:
            raise self.lost(error) from error

    def lost(self, error: OSError | None = None) -> PeerLostError:
        """Return the error for this peer; OpenSSL's has no number that the system knows."""
        if isinstance(error, ssl.SSLError):
            return self.failed(f"did not send what arrived: {error.reason}")
        return super().lost(error)
