"""A data set's rows as files of one column each: written as rows arrive, mapped as they lie.

For the data set ``PATH``, the file of that name has the number of rows, and::

    PATH.0         the values of column 0, one after another; booleans as bytes, texts as bytes
    PATH.0.ends    of texts: a zero, then where each one ends, in bytes
    PATH.0.ends-0  of lists of several lengths: a zero, then where each list ends, in elements

So values are written once, from the memory that they arrived in, and a column of any size is one
array without a copy. No file is open between writes, because there may be hundreds of columns.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import accumulate, count
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.features import ColumnSpec
from zoo.orca.worker.rows.arrays import numbers
from zoo.orca.worker.rows.files import private

Int64 = NDArray[np.int64]

#: How values lie in a file.
STORED = {
    "bool": pa.uint8(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.large_binary(),
}
_NOTHING = pa.py_buffer(b"")
_ZERO = np.zeros(1, np.int64)


class ColumnFile:
    """Writes values behind those that a column's files have.

    Parameters
    ----------
    path : str
        The data set's.
    index : int
        The column's position.
    dtype : str
        One of `zoo.orca.wire.features.DTYPES`.
    """

    def __init__(self, path: str, index: int, dtype: str) -> None:
        self._path, self._stored = _of_column(path, index), STORED[dtype]

    def write(self, pieces: Iterable[pa.Array]) -> None:
        """Write innermost values without nulls; texts of any of Arrow's types for them."""
        ends: list[Int64] = []
        with open(self._path, "ab", opener=private) as file:
            for values in pieces:
                if self._stored == STORED["string"]:
                    edges = _edges(values)
                    # The position counts what this call has written, too.
                    ends.append(edges[1:] + (file.tell() - int(edges[0])))
                    if len(values):
                        file.write(_bytes(values)[int(edges[0]) : int(edges[-1])])
                elif len(values):
                    same = values.type == self._stored
                    # Not tofile, whose errors do not say why.
                    file.write(numbers(values if same else values.cast(self._stored)).data)
        if ends:
            self._add_ends(f"{self._path}.ends", ends)

    def write_texts(self, texts: Sequence[bytes]) -> None:
        """Write texts that are objects."""
        with open(self._path, "ab", opener=private) as file:
            ends = np.fromiter(accumulate(map(len, texts)), np.int64, len(texts)) + file.tell()
            file.write(b"".join(texts))
        self._add_ends(f"{self._path}.ends", [ends])

    def write_lengths(self, level: int, lengths: Sequence[NDArray[Any]]) -> None:
        """Write the lengths of the lists of one nesting level."""
        path = _of_lists(self._path, level)
        before = int(_last(path))
        found = np.cumsum(np.concatenate([_ZERO, *lengths]), dtype=np.int64)[1:]
        self._add_ends(path, [found + before])

    @staticmethod
    def _add_ends(path: str, ends: Sequence[Int64]) -> None:
        with open(path, "ab", opener=private) as file:
            file.write(np.concatenate(ends if file.tell() else [_ZERO, *ends]).data)


def write_rows(path: str, rows: int) -> None:
    """Write the number of rows of a data set."""
    with open(path, "w", opener=private) as file:
        file.write(str(rows))


def mapped(path: str, columns: Sequence[ColumnSpec]) -> pa.RecordBatch:
    """Return all rows of a data set as one batch that reads from its files when it is read.

    Parameters
    ----------
    path : str
    columns : sequence of ColumnSpec
        With every array length filled in. Columns to pad are lists of several lengths.
    """
    with open(path) as file:
        rows = int(file.read())
    arrays = [_mapped(_of_column(path, index), one, rows) for index, one in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, [f"c{index}" for index in range(len(arrays))])


def remove(path: str) -> None:
    """Remove a data set's files; what is mapped of them stays there until nobody has it."""
    os.remove(path)
    for index in count():
        column = _of_column(path, index)
        if not os.path.exists(column):
            return
        os.remove(column)
        _remove(f"{column}.ends")
        level = 0
        while _remove(_of_lists(column, level)):
            level += 1


def _remove(path: str) -> bool:
    """Remove a file; return whether it was there."""
    there = os.path.exists(path)
    if there:
        os.remove(path)
    return there


def _mapped(path: str, column: ColumnSpec, rows: int) -> pa.Array:
    stored = STORED[column.dtype]
    lengths = [length or 0 for length in column.shape]
    edges: list[pa.Buffer] = []
    values = rows * prod(lengths)
    if column.padding is not None:
        edges = [_edges_of(_of_lists(path, level)) for level in range(len(lengths))]
        values = int(_last(_of_lists(path, len(lengths) - 1)))
    buffers = [None, _map(path)]
    if column.dtype == "string":
        buffers.insert(1, _edges_of(f"{path}.ends"))
    found = pa.Array.from_buffers(stored, values, buffers)
    for own in reversed(edges):
        kind = pa.large_list(found.type)
        count = own.size // _ZERO.itemsize - 1
        found = pa.Array.from_buffers(kind, count, [None, own], children=[found])
    if column.shape and column.padding is None:
        kind = pa.list_(stored, prod(lengths))
        found = pa.Array.from_buffers(kind, rows, [None], children=[found])
    return found


def _map(path: str) -> pa.Buffer:
    if not os.path.exists(path) or not os.path.getsize(path):  # of no values
        return _NOTHING
    with pa.memory_map(path) as file:
        return file.read_buffer()


def _edges_of(path: str) -> pa.Buffer:
    found = _map(path)
    return found if found.size else pa.py_buffer(_ZERO)


def _last(path: str) -> Int64:
    """Return where the last one of a file of ends does."""
    found: Int64 = np.frombuffer(_edges_of(path), np.int64)[-1]
    return found


def _of_column(path: str, index: int) -> str:
    return f"{path}.{index}"


def _of_lists(path: str, level: int) -> str:
    return f"{path}.ends-{level}"


def _edges(texts: pa.Array) -> NDArray[Any]:
    """Return where texts begin and end in their bytes."""
    is_large = pa.types.is_large_binary(texts.type) or pa.types.is_large_string(texts.type)
    kind = np.dtype(np.int64 if is_large else np.int32)
    buffer = texts.buffers()[1]
    if not buffer:  # of no texts
        return _ZERO
    edges = np.frombuffer(buffer, kind, len(texts) + 1, texts.offset * kind.itemsize)
    return edges.astype(np.int64, copy=False)


def _bytes(texts: pa.Array) -> memoryview:
    return memoryview(texts.buffers()[2] or b"")
