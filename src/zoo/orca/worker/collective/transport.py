"""What a ring asks of the way its bytes take; the ring itself keeps order, failures and locks.

Every method is one operation and is called on all ranks. It begins by exchanging the `header` of
the call (see `zoo.orca.worker.collective.headers`) with every other rank, and raises
`PeerLostError` if theirs belongs to another call.
"""

from typing import Any, Protocol

from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Buffer


class Transport(Protocol):
    """Moves data between the ranks of one ring."""

    def all_reduce(self, header: bytes, flat: NDArray[Any]) -> None:
        """Replace `flat`, one-dimensional, by the sum over ranks; the same bits on all of them."""

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""

    def give(self, header: bytes, data: memoryview) -> None:
        """Broadcast as the root."""

    def take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank: return the root's data."""

    def barrier(self, header: bytes) -> None:
        """Return once every rank has called it."""

    def close(self) -> None:
        """Let go of what belongs to this transport alone; may be called more than once."""
