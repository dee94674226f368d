"""The protocol between workers, and its version for a single worker.

Every method except `close` is collective. All ranks must call it in the same order, with buffers of
the same length (except `all_gather` and `broadcast`). Code above never asks whether it is
distributed: :class:`Alone` is the collective of one worker.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray | memoryview
#: Makes one message of several, given in rank order.
Merge: TypeAlias = Callable[[Sequence[Buffer]], Buffer]


class Collective(Protocol):
    """A fixed group of processes that exchange buffers in lockstep."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0 to ``size - 1``."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Replace `array` (C-contiguous) on every rank by the element-wise sum over ranks.

        Every rank ends with bit-identical values. Must be called on all ranks.

        Raises
        ------
        PeerLostError
            A peer closed its connection, fell silent, or called another operation.
        """

    def all_gather(self, data: Buffer, merge: Merge | None = None) -> Sequence[Buffer]:
        """Return every rank's `data` in rank order; lengths may differ. Called on all ranks.

        With `merge`, given on all ranks or none, those of one host may come as one message, merged
        before it leaves the host. All ranks return the same messages.
        """

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `root`'s `data` on every rank; the others pass None. Called on all ranks."""

    def barrier(self) -> None:
        """Return once every rank has called it."""

    def close(self) -> None:
        """Release all resources; not collective, and may be called more than once."""


class Forwarding:
    """What a collective leaves to another one of the same ranks.

    Parameters
    ----------
    base : Collective
    """

    def __init__(self, base: Collective) -> None:
        self._base = base

    @property
    def rank(self) -> int:
        """The number of this process, from 0 to ``size - 1``."""
        return self._base.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self._base.size

    def all_gather(self, data: Buffer, merge: Merge | None = None) -> Sequence[Buffer]:
        """Return every rank's `data` in rank order; see `Collective`."""
        return self._base.all_gather(data, merge)

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `root`'s `data` on every rank; the others pass None. Called on all ranks."""
        return self._base.broadcast(data, root)

    def barrier(self) -> None:
        """Return once every rank has called it; work on GPUs may still run."""
        self._base.barrier()


class Alone:
    """The collective of a single worker: every operation is the identity."""

    rank = 0
    size = 1

    def all_reduce(self, array: NDArray[Any]) -> None:
        """Leave `array` as it is: it is already the sum over one rank."""

    def all_gather(self, data: Buffer, merge: Merge | None = None) -> Sequence[Buffer]:
        """Return a list with `data` alone."""
        return [data]

    def broadcast(self, data: Buffer | None, root: int = 0) -> Buffer:
        """Return `data`."""
        if data is None:
            raise ValueError("broadcast: the root rank passes data, and rank 0 is the only one")
        return data

    def barrier(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """No-op."""
