"""Which connections a listener lets go before they have proved that they are a peer's.

Anybody on the network may connect, and each connection costs a file descriptor, of which a process
has few. So a listener holds a bounded number of strangers, each for a bounded time. Where it has
room for no more, the oldest go first: a peer proves itself within one round trip, while a stranger
that sends nothing grows old. Those that are too young to be judged are waited for; meanwhile the
kernel keeps newer ones in its queue, in their order.
"""

import errno
from typing import Final, Generic, TypeVar

#: Strangers that a listener holds at the same time.
MOST_STRANGERS: Final = 24
#: Seconds that a stranger has in any case: a peer's process may be busy, or its network slow.
_YOUNG_SECONDS: Final = 0.25
#: Seconds to pause where the process, or the machine, has no descriptor or memory left.
PAUSE_SECONDS: Final = 0.1
_OUT_OF_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

T = TypeVar("T")


class Strangers(Generic[T]):
    """The connections of one listener that are still in their handshake.

    Parameters
    ----------
    seconds : float
        How long a stranger may take to prove that it is a peer.
    most : int
        How many may do so at the same time.
    """

    def __init__(self, seconds: float, most: int = MOST_STRANGERS) -> None:
        self._seconds, self._most = seconds, most
        self._since: dict[T, float] = {}
        self._pause_until = 0.0

    def add(self, stranger: T, now: float) -> None:
        """Note a connection that was accepted at the time `now`."""
        self._since[stranger] = now

    def discard(self, stranger: T) -> None:
        """Forget one that has ended, or has proved to be a peer's."""
        self._since.pop(stranger, None)

    def __contains__(self, stranger: T) -> bool:
        return stranger in self._since

    def fail(self, error: OSError, now: float) -> None:
        """Note that a connection could not be accepted: without room for it, there is a pause."""
        if error.errno in _OUT_OF_ROOM:
            self.pause(now)

    def pause(self, now: float) -> None:
        """Accept nobody for a moment, in which those that are no longer young go."""
        self._pause_until = now + PAUSE_SECONDS

    def may_accept(self, now: float) -> bool:
        """Whether the listener has room for another connection."""
        return len(self._since) < self._most and now >= self._pause_until

    def to_drop(self, now: float) -> list[T]:
        """Return the connections that the listener must close now, the oldest first."""
        seconds = self._seconds if self.may_accept(now) else min(self._seconds, _YOUNG_SECONDS)
        return [stranger for stranger, since in self._since.items() if now - since > seconds]
