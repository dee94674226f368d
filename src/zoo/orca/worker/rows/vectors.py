"""Packed Vectors (`zoo.orca.wire.features.packed_name`), made lists of all their values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.features import IS_DENSE, packed_name
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
    packed = {
        index: _Packed.of(batch.column(index))
        for index in range(len(names))
        if own[index] == packed_name(index)
    }
    if not packed:
        yield batch
        return
    ends = np.cumsum(sum(one.sizes for one in packed.values()))
    start = 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, "right")))
        columns = batch.slice(start, stop - start).columns
        for index, one in packed.items():
            columns[index] = one.lists(slice(start, stop), columns[index], names[index])
        yield pa.RecordBatch.from_arrays(columns, own)
        start = stop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """A column of packed Vectors, a null among them as a list of no numbers.

    Parameters
    ----------
    flat : array
        The numbers of all lists.
    starts, lengths : array
        Where each list lies among them.
    is_dense : array
        Whether each is a dense Vector; a null is.
    sizes : array
        How many values each has.
    """

    flat: NDArray[np.float32]
    starts: Int64
    lengths: Int64
    is_dense: NDArray[np.bool_]
    sizes: Int64

    @classmethod
    def of(cls, vectors: pa.Array) -> "_Packed":
        """Return the parts of a column, of all its rows at once."""
        lengths = numbers(pc.fill_null(vectors.value_lengths(), 0)).astype(np.int64)
        flat = numbers(vectors.flatten())
        starts = np.cumsum(lengths) - lengths
        heads = np.full(len(lengths), IS_DENSE, np.int64)
        there = lengths > 0
        heads[there] = flat[starts[there]]
        is_dense = heads < 0
        sizes = np.where(is_dense, lengths - there, heads)
        return cls(flat=flat, starts=starts, lengths=lengths, is_dense=is_dense, sizes=sizes)

    def lists(self, rows: slice, column: pa.Array, name: str) -> pa.Array:
        """Return some rows as lists of all their values, nulls where `column` has some."""
        sizes = self.sizes[rows]
        edges = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=edges[1:])
        values = _zeros(int(edges[-1]))
        is_dense = self.is_dense[rows]
        if is_dense.any():
            self._put_dense(rows, values)
        if not is_dense.all():
            self._put_sparse(rows, values, name)
        missing = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(from_numbers(edges), from_numbers(values), mask=missing)

    def _put_dense(self, rows: slice, values: NDArray[np.float32]) -> None:
        """Put all values of dense Vectors where they belong among those of all rows."""
        starts, lengths, is_dense = self.starts[rows], self.lengths[rows], self.is_dense[rows]
        first = int(starts[0])
        is_value = np.repeat(is_dense, lengths)
        is_value[starts[lengths > 0] - first] = False
        found = self.flat[first : first + len(is_value)][is_value]
        if is_dense.all():
            values[:] = found
        else:
            values[np.repeat(is_dense, self.sizes[rows])] = found

    def _put_sparse(self, rows: slice, values: NDArray[np.float32], name: str) -> None:
        """Put the values of sparse Vectors where they belong among those of all rows."""
        sizes = self.sizes[rows]
        counts = np.where(self.is_dense[rows], 0, (self.lengths[rows] - 1) // 2)
        # Where the places of values are in the lists; the values are so much further on.
        among = np.repeat(self.starts[rows] + 1 - (np.cumsum(counts) - counts), counts)
        among += np.arange(len(among))
        places = self.flat.take(among).astype(np.int64)
        if len(places):
            _check(places, sizes, counts, name)
        places += np.repeat(np.cumsum(sizes) - sizes, counts)
        among += np.repeat(counts, counts)
        values[places] = self.flat.take(among)


def _zeros(count: int) -> NDArray[np.float32]:
    """Return zeros in memory of Arrow's, which is there again for the next ones.

    What numpy frees of this size goes back to the system. New pages of it took more time than all
    else here.
    """
    found = np.frombuffer(pa.allocate_buffer(4 * count), np.float32)
    found.fill(0)
    return found


def _check(places: Int64, sizes: Int64, counts: Int64, name: str) -> None:
    """Raise if a value has no place in its Vector."""
    if places.min() >= 0 and places.max() < sizes.min():  # most Vectors of a column have one size
        return
    of = np.repeat(sizes, counts)
    is_wrong = (places < 0) | (places >= of)
    if is_wrong.any():
        wrong = int(np.argmax(is_wrong))
        raise DataError(
            f"column {name!r} holds a sparse Vector of {of[wrong]} values with one at place "
            f"{places[wrong]}, counted from 0\n"
            "Make it anew with pyspark.ml.linalg.Vectors.sparse(size, places, values)"
        )
