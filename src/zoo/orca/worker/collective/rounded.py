"""A collective whose sums may lose digits to save bytes."""

from typing import Any

from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Forwarding
from zoo.orca.worker.collective.ring import Ring


class Rounded(Forwarding):
    """A ring that sends sums of float32 between hosts as bfloat16; all else is exact.

    Attributes
    ----------
    exact : Ring
        Of the same ranks, for sums that must keep their digits.
    """

    def __init__(self, exact: Ring) -> None:
        super().__init__(exact)
        self.exact = exact

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Replace `array` on every rank by the sum over ranks of rounded numbers."""
        self.exact.all_reduce(array, rounded=True)

    def close(self) -> None:
        """No-op: the ring belongs to its maker."""
