"""Connects to the other workers' children in a thread, while the framework is imported."""

import threading

from zoo.orca.errors import OrcaError, PeerLostError
from zoo.orca.wire.messages.pipe import Connect
from zoo.orca.worker.child.mailbox import Letters
from zoo.orca.worker.collective.protocol import Alone, Collective
from zoo.orca.worker.collective.ring import Listener, Ring


class Peers:
    """Listens for the peers, and connects to them."""

    def __init__(self, host: str, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._listener = Listener(host) if size > 1 else None
        self._thread: threading.Thread | None = None
        self._met: Collective | None = None
        self._error: Exception = PeerLostError("the peers were never met")

    @property
    def address(self) -> tuple[str, int] | None:
        """The address where peers find this rank; None for a rank without peers."""
        return self._listener.address if self._listener else None

    def begin(self, letters: Letters) -> None:
        """Wait for the peers' addresses and connect, in a thread."""
        self._thread = threading.Thread(target=self._meet, args=(letters,), daemon=True)
        self._thread.start()

    def end(self) -> Collective:
        """Return the collective once every peer is connected."""
        if self._thread is not None:
            self._thread.join()
        if self._met is None:
            raise self._error
        return self._met

    def abort(self) -> None:
        """Stop listening; later connections are refused."""
        if self._listener is not None:
            self._listener.close()

    def _meet(self, letters: Letters) -> None:
        try:
            message = letters.take(Connect)
        except PeerLostError as error:
            self._error = error
            return
        if self._listener is None:
            self._met = Alone()
        else:
            addresses = [address for address in message.addresses if address is not None]
            if len(addresses) < self._size:
                self._error = PeerLostError("a peer did not come up")
                return
            try:
                self._met = Ring.connect(
                    self._listener,
                    self._rank,
                    addresses,
                    message.secret,
                    timeout=message.timeout,
                )
            except (OrcaError, OSError) as error:
                self._error = error
