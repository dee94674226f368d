"""Arrays of unequal length: cut and padded to the lengths that all workers agreed on.

Everything is done for many rows at once. Nothing here looks at one row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.features import ColumnSpec
from zoo.orca.worker.rows.arrays import from_numbers
from zoo.orca.worker.rows.columns import Parts

#: Values that are padded at once; few enough to stay in a processor's cache.
_AT_ONCE = 1 << 20


def cut(parts: Parts, shape: Sequence[int | None], keep: str) -> Parts:
    """Return the parts without what is beyond the lengths of `shape`; None cuts nothing.

    Parameters
    ----------
    parts : Parts
    shape : sequence of int or None
        The most elements of a list, for each nesting level.
    keep : str
        Which elements stay: the "first" or the "last".
    """
    if all(
        most is None or not len(found) or found.max() <= most
        for most, found in zip(shape, parts.lengths, strict=True)
    ):
        return parts
    lengths = []
    kept: NDArray[np.int64] | None = None  # the lists of this level that stay; None: all
    for most, found in zip(shape, parts.lengths, strict=True):
        count = found.astype(np.int64)
        starts = np.cumsum(count) - count
        if kept is not None:
            count, starts = count[kept], starts[kept]
        taken = count if most is None else np.minimum(count, most)
        if keep == "last":
            starts = starts + (count - taken)
        first = np.cumsum(taken) - taken
        kept = np.repeat(starts - first, taken) + np.arange(int(taken.sum()))
        lengths.append(taken)
    values = parts.values if kept is None else parts.values.take(from_numbers(kept))
    return replace(parts, values=values, lengths=tuple(lengths))


def filled(
    values: NDArray[Any], lengths: Sequence[NDArray[Any]], shape: Sequence[int], fill: Any
) -> NDArray[Any]:
    """Return rows of `shape`: their values in front, `fill` behind. No list is longer.

    Parameters
    ----------
    values : array
        The innermost values of all rows, flat.
    lengths : sequence of array
        For each nesting level, the lengths of all lists.
    shape : sequence of int
    fill : value
    """
    for count, size in zip(reversed(lengths), reversed(shape), strict=True):
        inner = values.shape[1:]
        if (count == size).all():
            values = values.reshape(len(count), size, *inner)
            continue
        found = np.full((len(count), size, *inner), fill, values.dtype)
        found[np.arange(size) < count[:, None]] = values
        values = found
    return values


def rows_filled(
    parts: Parts, values: NDArray[Any], column: ColumnSpec, fill: Any
) -> Iterator[NDArray[Any]]:
    """Yield the rows of a column some at a time, because padding may need much more memory.

    Parameters
    ----------
    parts : Parts
    values : array
        Its innermost values, or what stands for them.
    column : ColumnSpec
        With every length filled in.
    fill : value
    """
    shape = [length or 0 for length in column.shape]
    rows = len(parts.lengths[0])
    step = max(_AT_ONCE // max(prod(shape), 1), 1)
    # Where the lists of each level begin, and the values last.
    starts = [np.concatenate([[0], np.cumsum(count, dtype=np.int64)]) for count in parts.lengths]
    for first in range(0, rows, step):
        begin, end = first, min(first + step, rows)
        lengths = []
        for count, start in zip(parts.lengths, starts, strict=True):
            lengths.append(count[begin:end])
            begin, end = int(start[begin]), int(start[end])
        yield filled(values[begin:end], lengths, shape, fill)
