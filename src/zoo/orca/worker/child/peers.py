"""Connects to the other workers' children in a thread, while the framework is imported."""

import threading

from zoo.orca.errors import PeerLostError
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
        # The job may fail while the thread connects. Whoever comes second closes the collective.
        self._lock = threading.Lock()
        self._is_aborted = False

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
            # no limit: the thread has one once the task has told the addresses; see the mailbox
            self._thread.join()
        if self._met is None:
            raise self._error
        return self._met

    def abort(self) -> None:
        """Stop listening, and leave the peers, whether they were met already or are met later."""
        with self._lock:
            self._is_aborted = True
            met = self._met
        if self._listener is not None:
            self._listener.close()
        if met is not None:
            met.close()

    def _meet(self, letters: Letters) -> None:
        try:
            message = letters.take(Connect)
            if not self._is_aborted:
                self._keep(self._connected(message))
        except Exception as error:  # whatever it is, `end` raises it in the job
            self._error = error

    def _connected(self, message: Connect) -> Collective:
        if self._listener is None:
            return Alone()
        addresses = [address for address in message.addresses if address is not None]
        if len(addresses) < self._size:
            raise PeerLostError("a peer did not come up")
        return Ring.connect(
            self._listener,
            self._rank,
            addresses,
            message.secret,
            timeout=message.timeout,
            identity=message.identity,
        )

    def _keep(self, met: Collective) -> None:
        with self._lock:
            if not self._is_aborted:
                self._met = met
                return
        met.close()
