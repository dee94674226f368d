"""The arithmetic of an all-reduce, without the transfer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def flat_view(array: NDArray[Any]) -> NDArray[Any]:
    """Return a one-dimensional view of `array`.

    Raises
    ------
    ValueError
        If sums cannot be made in it. Raised before anything is sent, while the ring is still
        intact.
    """
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise ValueError("all_reduce: the array must be C-contiguous and writable")
    kind = array.dtype.kind
    # Kind V: types such as bfloat16, which numpy can add but does not know as numbers.
    if kind not in "fiucV" or array.dtype.names or not array.dtype.isnative:
        raise ValueError(f"all_reduce: numbers in native byte order, not {array.dtype}")
    return array.reshape(-1)


def kind_code(dtype: np.dtype[Any], *, rounded: bool) -> int:
    """Return two bytes that are equal on all ranks if their numbers are sent as the same type."""
    if rounded:
        return ord("b") << 8 | 2  # numpy has no such numbers
    return ord(dtype.kind) << 8 | min(dtype.itemsize, 255)


def add_in_rank_order(ours: NDArray[Any], rank: int, others: Sequence[NDArray[Any]]) -> None:
    """Replace `ours` by the sum over all ranks, added from rank 0 up on every rank.

    Floats round differently in another order. Ranks whose weights differ by one bit never agree
    again.

    Parameters
    ----------
    ours : array
    rank : int
        The position of `ours` among the operands.
    others : sequence of array
        The other ranks' arrays, in rank order. The first one may be overwritten.
    """
    below, above = others[:rank], others[rank:]
    # Overflow and NaN are the training's concern. It must not matter which rank adds them.
    with np.errstate(all="ignore"):
        for part in below[1:]:
            np.add(below[0], part, out=below[0])
        if below:
            np.add(below[0], ours, out=ours)
        for part in above:
            np.add(ours, part, out=ours)
