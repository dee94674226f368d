"""A blocking connection behind TLS: one thread reads while others send."""

import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Final, cast

from zoo.orca.encryption.tls import Contexts, Tunnel
from zoo.orca.wire.handshake import HandshakeError

_CIPHER_BYTES: Final = 64 << 10
_ENDED: Final = "the other end closed the connection in mid-handshake"


class Line(io.RawIOBase):
    """An encrypted connection over a blocking socket; any threads may send while one reads.

    It reads as a file does. To close it does not close the socket.

    Parameters
    ----------
    connection : socket
    tunnel : Tunnel
    """

    def __init__(self, connection: socket.socket, tunnel: Tunnel) -> None:
        super().__init__()
        self._connection, self._tunnel = connection, tunnel
        # Keeps the descriptor open while a thread reads, even if another closes the socket.
        self._source = connection.makefile("rb", buffering=0)
        self._using = threading.Lock()
        # What is encrypted first must be sent first.
        self._sending = threading.Lock()

    def shake(self, seconds: float) -> None:
        """Do the handshake.

        Raises
        ------
        HandshakeError
            The other end is a stranger, or disconnects.
        OSError
            The time is over, or the connection failed.
        """
        before = self._connection.gettimeout()
        deadline = time.monotonic() + seconds
        while not self._tunnel.established:
            try:
                self._tunnel.shake()
            finally:  # in a failure, this tells the other end
                self._connection.sendall(self._tunnel.outgoing())
            if not self._tunnel.established:
                # A limit on each byte alone would let a stranger stay for hours.
                self._connection.settimeout(max(0.001, deadline - time.monotonic()))
                data = self._source.read(_CIPHER_BYTES)
                if not data:
                    raise HandshakeError(_ENDED)
                self._tunnel.take(data)
        self._connection.settimeout(before)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        with self._sending:
            with self._using:
                self._tunnel.encrypt(data)
                encrypted = self._tunnel.outgoing()
            self._connection.sendall(encrypted)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes, or 0 at the end."""
        view = memoryview(buffer).cast("B")
        while True:
            with self._using:
                count = self._tunnel.decrypt(view)
            if count:
                return count
            data = self._source.read(_CIPHER_BYTES)
            if not data:
                return 0
            with self._using:
                self._tunnel.take(data)

    def close(self) -> None:
        """Let go of the socket."""
        self._source.close()
        super().close()


def open_line(
    connection: socket.socket, contexts: Contexts | None, *, accepts: bool, seconds: float
) -> tuple[Callable[[bytes], None], BinaryIO]:
    """Return what sends over a blocking connection, and the stream of what arrives.

    Parameters
    ----------
    connection : socket
    contexts : Contexts or None
        None: the connection is in clear.
    accepts : bool
        Whether this end has accepted the connection.
    seconds : float
        The limit of TLS's handshake.

    Raises
    ------
    HandshakeError, OSError
        As :meth:`Line.shake`.
    """
    if contexts is None:
        return connection.sendall, connection.makefile("rb")
    line = Line(connection, Tunnel(contexts, accepts=accepts))
    try:
        line.shake(seconds)
    except BaseException:
        line.close()
        raise
    return line.send, cast("BinaryIO", io.BufferedReader(line))
