"""The transport below a ring; the ring itself handles order, failures and locks.

Every method is one operation and is called on all ranks. It first exchanges the call's `header`
(see `zoo.orca.worker.collective.headers`) with every other rank. It raises `PeerLostError` if a
peer's header belongs to another call.
"""

from typing import Any, Protocol

from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Buffer


class Transport(Protocol):
    """Moves data between the ranks of one ring."""

    def all_reduce(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Replace `flat`, one-dimensional, by the sum over ranks; bit-identical on all ranks.

        If `rounded`, numbers of float32 may be sent as bfloat16.
        """

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""

    def give(self, header: bytes, data: memoryview) -> None:
        """Broadcast as the root."""

    def take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank: return the root's data."""

    def barrier(self, header: bytes) -> None:
        """Return once every rank has called it."""

    def close(self) -> None:
        """Release what only this transport owns; may be called more than once."""
