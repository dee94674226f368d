"""A collective whose sums may lose digits to save bytes."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Buffer, Merge
from zoo.orca.worker.collective.ring import Ring


class Rounded:
    """A ring that sends sums of float32 between hosts as bfloat16; all else is exact.

    Attributes
    ----------
    exact : Ring
        Of the same ranks, for sums that must keep their digits.
    """

    def __init__(self, exact: Ring) -> None:
        self.exact = exact

    @property
    def rank(self) -> int:
        """The number of this process, from 0 to ``size - 1``."""
        return self.exact.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.exact.size

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Replace `array` on every rank by the sum over ranks of rounded numbers."""
        self.exact.all_reduce(array, rounded=True)

    def all_gather(self, data: Buffer, merge: Merge | None = None) -> Sequence[Buffer]:
        """Return every rank's `data` in rank order. Called on all ranks."""
        return self.exact.all_gather(data, merge)

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `root`'s `data` on every rank; the others pass None. Called on all ranks."""
        return self.exact.broadcast(data, root)

    def barrier(self) -> None:
        """Return once every rank has called it."""
        self.exact.barrier()

    def close(self) -> None:
        """No-op: the ring belongs to its maker."""
