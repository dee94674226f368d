"""Packed Vectors (`zoo.orca.wire.features.packed_name`), made lists of all their values."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.features import packed_name
from zoo.orca.worker.rows.arrays import from_numbers, numbers

Int64 = NDArray[np.int64]

#: Values of the rows that are made at once: a few Vectors in a batch may become gigabytes.
_AT_ONCE = 1 << 20


def unpacked(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch with lists in place of packed Vectors, some at a time.

    Parameters
    ----------
    batch : pa.RecordBatch
    names : sequence of str
        The user's names for its first columns.

    Raises
    ------
    DataError
        If a Vector has a value where it has no place; Spark finds most of these itself.
    """
    own = batch.schema.names
    packed = [index for index in range(len(names)) if own[index] == packed_name(index)]
    if not packed:
        yield batch
        return
    ends = np.cumsum(sum(_sizes(batch.column(index)) for index in packed))
    start = 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, "right")))
        columns = batch.slice(start, stop - start).columns
        for index in packed:
            columns[index] = _lists(columns[index], names[index])
        yield pa.RecordBatch.from_arrays(columns, own)
        start = stop


def _sizes(vectors: pa.Array) -> Int64:
    """Return the number of each row's values; nulls have none."""
    sizes = np.zeros(len(vectors), np.int64)
    there = vectors.drop_null() if vectors.null_count else vectors
    lengths, heads, _ = _heads(there)
    valid = numbers(vectors.is_valid().cast(pa.uint8())).view(np.bool_)
    sizes[valid] = np.where(heads < 0, lengths - 1, heads)
    return sizes


def _heads(vectors: pa.Array) -> tuple[Int64, Int64, NDArray[np.float32]]:
    """Return the length of each list and its first number, and the numbers of all lists."""
    lengths = numbers(vectors.value_lengths()).astype(np.int64)
    flat = numbers(vectors.flatten())
    return lengths, flat[np.cumsum(lengths) - lengths].astype(np.int64), flat


def _lists(vectors: pa.Array, name: str) -> pa.Array:
    """Return packed Vectors as lists of all their values, nulls where there were some."""
    missing = vectors.is_null() if vectors.null_count else None
    edges = np.concatenate([[0], np.cumsum(_sizes(vectors))]).astype(np.int32)
    values = _values(vectors.drop_null() if vectors.null_count else vectors, name)
    return pa.ListArray.from_arrays(from_numbers(edges), from_numbers(values), mask=missing)


def _values(vectors: pa.Array, name: str) -> NDArray[np.float32]:
    """Return the values of all Vectors, one after another, zeros among them."""
    lengths, heads, flat = _heads(vectors)
    is_dense = heads < 0
    if is_dense.all():
        return np.delete(flat, np.cumsum(lengths) - lengths)
    sizes = np.where(is_dense, lengths - 1, heads)
    values = _zeros(int(sizes.sum()))
    if is_dense.any():
        is_value = np.repeat(is_dense, lengths)
        is_value[np.cumsum(lengths) - lengths] = False
        values[np.repeat(is_dense, sizes)] = flat[is_value]
    counts = np.where(is_dense, 0, (lengths - 1) // 2)
    first = np.cumsum(lengths) - lengths + 1
    # Where the places of sparse Vectors are in the lists; their values are so much further on.
    among = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    places = flat[among].astype(np.int64)
    _check(places, np.repeat(sizes, counts), name)
    places += np.repeat(np.cumsum(sizes) - sizes, counts)
    values[places] = flat[among + np.repeat(counts, counts)]
    return values


def _zeros(count: int) -> NDArray[np.float32]:
    """Return zeros in memory of Arrow's, which is there again for the next ones.

    What numpy frees of this size goes back to the system, and new pages take time.
    """
    found = np.frombuffer(pa.allocate_buffer(4 * count), np.float32)
    found.fill(0)
    return found


def _check(places: Int64, sizes: Int64, name: str) -> None:
    """Raise if a value has no place in its Vector; `sizes` has one of these for each value."""
    is_wrong = (places < 0) | (places >= sizes)
    if is_wrong.any():
        wrong = int(np.argmax(is_wrong))
        raise DataError(
            f"column {name!r} holds a sparse Vector of {sizes[wrong]} values with one at place "
            f"{places[wrong]}, counted from 0\n"
            "Make it anew with pyspark.ml.linalg.Vectors.sparse(size, places, values)"
        )
