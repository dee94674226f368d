"""TCP sockets for the ring: a listener, and non-blocking links to authenticated peers.

A lost peer is found whatever happened to it:

- Its process ended: the kernel closes the connection, and the end of the stream or a reset arrives
  at once.
- Its host fell silent: nothing arrives, so the kernel must probe. Keep-alive probes do so after 5 s
  on an idle connection. ``TCP_USER_TIMEOUT`` applies after 10 s while data is unacknowledged. Both
  end within 15 s as a socket error, which `poll` reports for every socket it is given, even one
  that no data is expected from.

``TCP_USER_TIMEOUT`` has a drawback: Linux also counts the time in which a healthy peer does not
read and its window is closed. So a sender must not fill the window of a peer that computes.
`zoo.orca.worker.collective.ring` sends at most :data:`EAGER_BYTES` before the peer joins the
operation.
"""

import contextlib
import os
import select
import socket
import time
from typing import Any, Final

from zoo.orca.errors import PeerLostError

#: Bytes that fit into any peer's receive window while it does not read (smallest default: 64 KiB).
EAGER_BYTES: Final = 32 << 10
_BACKLOG = 128
_NAME_BYTES = 16
_KEEP_ALIVE = {
    # Linux first; macOS has another name for the idle time. All values but the last are seconds.
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPALIVE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}


class Listener:
    """A listening socket on one interface and a free port; it serves one ring.

    Bind it before the address is published: peers take a refused connection for a dead peer.

    Parameters
    ----------
    host : str
        Address or name of the interface to listen on.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setblocking(False)
            _do_not_pace(self._socket)  # what it accepts does as it does
            self._socket.bind(address)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def fileno(self) -> int:
        """Return the file descriptor, for `select`."""
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """Return the next connection, non-blocking like the listener; None if none waits."""
        try:
            accepted, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        tune(accepted)
        return accepted

    def close(self) -> None:
        """Stop listening; may be called more than once."""
        self._socket.close()


def start_connecting(address: tuple[str, int]) -> tuple[socket.socket, int]:
    """Return a socket that connects, and the errno of `connect_ex` (0, in progress, or worse)."""
    family, kind, protocol, _, target = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
    connecting = socket.socket(family, kind, protocol)
    tune(connecting)
    return connecting, connecting.connect_ex(target)


def tune(sock: socket.socket) -> None:
    """Make `sock` non-blocking, quick with small buffers, and quick to notice a silent host."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    _do_not_pace(sock)


def _do_not_pace(sock: socket.socket) -> None:
    """Let a socket use Reno where the system's choice is BBR; before it connects.

    BBR is meant for long paths. Between hosts of one network a round trip takes microseconds.
    Measured: sums of eight hosts take a quarter less time with Reno, which needs no timers, and
    streams of two hosts that both send no longer fall below the link's speed now and then. Any
    process may choose Reno.
    """
    if not hasattr(socket, "TCP_CONGESTION"):
        return
    option = (socket.IPPROTO_TCP, socket.TCP_CONGESTION)
    # A system may allow fewer choices, or tell of none. Its own only makes sums slower.
    with contextlib.suppress(OSError):
        if sock.getsockopt(*option, _NAME_BYTES).rstrip(b"\0") == b"bbr":
            sock.setsockopt(*option, b"reno")


class Link:
    """The connection to one peer.

    Parameters
    ----------
    rank : int
        The peer's rank.
    address : tuple of str and int
        Its listening address, for messages.
    sock : socket
        Connected and authenticated. The link owns it from now on.
    """

    def __init__(self, rank: int, address: tuple[str, int], sock: socket.socket) -> None:
        self.rank = rank
        self.address = address
        self.fd = sock.fileno()
        #: The peer has closed the link, but earlier data from it is still unread.
        self.departed = False
        #: The peer said goodbye. It needs nothing more, so its loss does not matter.
        self.at_ease = False
        #: Bytes that `send` has taken wait here until the kernel takes them (`encrypted.py`); to
        #: send more, or nothing, tries again.
        self.holds = False
        self._socket = sock

    def send(self, *parts: Any) -> int:
        """Send what the kernel takes now, from the start of `parts`; return 0 if nothing.

        Raises
        ------
        PeerLostError
            The connection is gone.
        """
        try:
            return self._socket.sendmsg(parts)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.lost(error) from error

    def receive(self, view: memoryview) -> int:
        """Receive what is there into `view`, which is not empty; return 0 if nothing is.

        Raises
        ------
        PeerLostError
            The connection is gone, or the peer has closed it.
        """
        try:
            count = self._socket.recv_into(view)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self.lost(error) from error
        if not count:
            raise self.lost()
        return count

    def say_goodbye(self, data: bytes, deadline: float) -> None:
        """Send a few last bytes, after what the kernel still holds; ignore a peer that is gone."""
        poller = select.poll()
        poller.register(self.fd, select.POLLOUT)
        try:
            data = data[self.send(data) :]
            while (data or self.holds) and (rest := deadline - time.monotonic()) > 0:
                poller.poll(rest * 1000)
                data = data[self.send(data) :]
        except PeerLostError:
            self.departed = True

    def peek(self, size: int) -> bytes | None:
        """Return the readable bytes: b"" if the peer has closed, None if there are none."""
        try:
            return self._socket.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self.lost(error) from error

    def lost(self, error: OSError | None = None) -> PeerLostError:
        """Return the error for this peer; `error` is the socket's, None if the stream ended."""
        code = error.errno if error is not None else self._socket.getsockopt(*_SO_ERROR)
        what = "closed the connection: its process ended, or it lost another worker"
        if isinstance(error, TimeoutError):
            what = "fell silent: its host or the network to it is down"
        elif code:
            what = f"cannot be reached any more: {os.strerror(code)}"
        return self.failed(what)

    def failed(self, what: str) -> PeerLostError:
        """Return an error that says `what` about this peer."""
        host, port = self.address
        return PeerLostError(f"rank {self.rank} at {host}:{port} {what}", rank=self.rank, host=host)

    def error(self) -> PeerLostError:
        """Return the error that `poll` reported for this socket."""
        code = self._socket.getsockopt(*_SO_ERROR)
        # OSError picks the subclass by the code, including TimeoutError.
        return self.lost(OSError(code, os.strerror(code)) if code else None)

    def shut(self) -> None:
        """Close both directions, which wakes any thread that waits for the link."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            self.departed = True  # it was gone already

    def close(self) -> None:
        """Release the socket; not while another thread uses it."""
        self._socket.close()


_SO_ERROR = (socket.SOL_SOCKET, socket.SO_ERROR)
