"""Accepts connections in a thread, whoever comes, and however few descriptors are left.

`zoo.orca.wire.strangers` says who goes. Each connection is served in a thread of its own, which
says when it has proved to be a worker's.
"""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from zoo.orca.wire.strangers import Strangers

#: Seconds between two looks at those who are still strangers.
_LOOK_SECONDS: Final = 0.1


class Door:
    """Accepts the connections of one listening socket.

    Parameters
    ----------
    listener : socket
        Listens already; closed by `close`.
    serve : callable
        Called for each connection, in a thread of its own. It closes the connection.
    seconds : float
        How long a stranger may take to prove that it is a worker.
    """

    def __init__(
        self, listener: socket.socket, serve: Callable[[socket.socket], None], seconds: float
    ) -> None:
        self._listener, self._serve = listener, serve
        self._strangers: Strangers[socket.socket] = Strangers(seconds)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._lines: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def open(self) -> None:
        """Begin to accept."""
        self._listener.settimeout(_LOOK_SECONDS)
        self._thread.start()

    def admit(self, connection: socket.socket) -> None:
        """Note that a connection is a worker's; called by its thread."""
        with self._lock:
            self._strangers.discard(connection)
            self._lines.append(threading.current_thread())

    def close(self, seconds: float) -> None:
        """Accept nobody any more; give the workers' last words some seconds to arrive."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it
        deadline = time.monotonic() + seconds
        for line in (self._thread, *self._lines):
            line.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while not self._closed.is_set():
            now = time.monotonic()
            self._drop(now)
            if self._strangers.may_accept(now):
                self._accept_one()
            else:
                self._closed.wait(_LOOK_SECONDS / 4)
        self._listener.close()
        self._drop(math.inf)

    def _accept_one(self) -> None:
        """Accept a connection, if one comes; without room for it, pause instead of giving up."""
        try:
            connection, _ = self._listener.accept()
            try:
                self._begin(connection)
            except RuntimeError:  # no room for one more thread
                self._end(connection)
                self._strangers.pause(time.monotonic())
        except TimeoutError:
            return
        except OSError as error:
            self._strangers.fail(error, time.monotonic())

    def _begin(self, connection: socket.socket) -> None:
        with self._lock:
            self._strangers.add(connection, time.monotonic())
        threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._strangers.discard(connection)
        connection.close()

    def _drop(self, now: float) -> None:
        """Hang up on those who must go; their threads then end, and close the connections."""
        with self._lock:
            for connection in self._strangers.to_drop(now):
                self._strangers.discard(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
