"""Columns of rows as Arrow arrays that Spark reads, from numpy and from Arrow's other types.

Spark has no unsigned numbers, no floats of two bytes, no dictionaries, and one type of lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zoo.orca.wire.padding import PaddedColumn

#: Types that Spark lacks, and the next larger that it has; but for doubles, which are four bytes in
#: a model, so that they move in half the time.
_WIDENED = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.float64(): pa.float32(),
}
_LARGE = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
}
_KEPT = {
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.string(),
    pa.binary(),
}
_LISTS = (
    pa.ListType,
    pa.LargeListType,
    pa.FixedSizeListType,
    pa.ListViewType,
    pa.LargeListViewType,
)
#: What the innermost values of one array may come to: lists count them in four bytes.
_MOST_VALUES = 1 << 30


def refusal(kind: pa.DataType) -> str:
    """Return why a column of this type cannot be a model's input; an empty string if it can."""
    return "" if _target(kind) is not None else f"has the type {kind}"


def typed_as(values: pa.ChunkedArray, padded: PaddedColumn) -> pa.ChunkedArray:
    """Return a column without one element, and so without a type, as one that can be padded."""
    kind, depth = values.type, 0
    while isinstance(kind, _LISTS):
        kind, depth = kind.value_type, depth + 1
    if not pa.types.is_null(kind):
        return values
    asked = len(padded.length) if isinstance(padded.length, tuple) else 1
    found = pa.scalar(padded.pad).type
    for _ in range(max(depth, asked)):
        found = pa.list_(found)
    return values.cast(found)


def for_model(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return an Arrow column in the type of Spark's that holds what a model gets of it.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a number is too large for the numbers that Spark has.
    """
    kind = _target(values.type)
    if _has_views(values.type):
        return pa.chunked_array([_without_views(one).cast(kind) for one in values.chunks], kind)
    return values if values.type == kind else values.cast(kind)


def from_numpy(values: NDArray[Any]) -> pa.ChunkedArray:
    """Return an array of any number of axes as a column of nested lists; numbers are not copied.

    In an array of objects a row may be an array, too: of any lengths.

    Raises
    ------
    TypeError, ValueError
        If Arrow has no type for the values.
    """
    if values.dtype == object and values.ndim == 1 and _is_of_arrays(values):
        return _from_arrays(values)
    row = int(np.prod(values.shape[1:]))
    rows = max(1, _MOST_VALUES // max(1, row))
    starts = range(0, max(1, len(values)), rows)
    return pa.chunked_array([_from_numpy(values[start : start + rows]) for start in starts])


def to_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a column without nulls as one array, nested lists of one length as its axes.

    Lists of several lengths become an array of objects.
    """
    filled = [chunk for chunk in column.chunks if len(chunk)]
    parts = [part for part in map(_to_numpy, filled) if part is not None]
    if len(parts) < len(filled) or len({part.shape[1:] for part in parts}) > 1:
        objects: NDArray[Any] = column.to_numpy()
        return objects
    if not parts:
        return _empty(column.type)
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _target(kind: pa.DataType) -> pa.DataType | None:
    """Return the type of Spark's for values of a type; None for what no model input can take."""
    if pa.types.is_dictionary(kind):
        return _target(kind.value_type)
    if isinstance(kind, _LISTS):
        inner = _target(kind.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_decimal(kind):
        return pa.float32()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return kind if kind in _KEPT else _WIDENED.get(kind) or _LARGE.get(kind)


def _from_numpy(values: NDArray[Any]) -> pa.Array:
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    flat = np.ascontiguousarray(values).reshape(-1)
    if flat.dtype.kind in "US":  # pyarrow would cut numpy's texts at the first zero byte
        found = pa.array(flat.tolist(), pa.string() if flat.dtype.kind == "U" else pa.binary())
    else:
        # Arrow has the machine's order of bytes only.
        found = pa.array(flat.astype(flat.dtype.newbyteorder("="), copy=False))
    for axis in range(values.ndim - 1, 0, -1):
        count, length = int(np.prod(values.shape[:axis])), values.shape[axis]
        offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
        found = pa.ListArray.from_arrays(pa.array(offsets), found)
    return found


def _is_of_arrays(rows: NDArray[Any]) -> bool:
    """Whether rows are arrays of more axes than Arrow takes by itself."""
    first = next((row for row in rows if row is not None), None)
    return isinstance(first, np.ndarray) and first.ndim > 1


def _from_arrays(rows: NDArray[Any]) -> pa.ChunkedArray:
    """Return rows that are arrays of one number of axes as nested lists."""
    missing = np.array([row is None for row in rows])
    if missing.any():
        none = pa.array([], pa.float32())
        return pa.chunked_array([_lists(np.zeros(len(rows), int), none, pa.array(missing))])
    if len({getattr(row, "ndim", 0) for row in rows}) > 1:
        raise ValueError("its arrays have different numbers of axes")
    chunk = np.cumsum([row.size for row in rows]) // _MOST_VALUES
    cuts = np.flatnonzero(np.diff(chunk)) + 1
    return pa.chunked_array([_nested(some) for some in np.split(rows, cuts)])


def _nested(rows: NDArray[Any]) -> pa.Array:
    shapes = np.array([row.shape for row in rows])
    found = _from_numpy(np.concatenate([row.reshape(-1) for row in rows]))
    for axis in range(shapes.shape[1] - 1, -1, -1):
        # Each list of a row has the length of the row's axis.
        lengths = np.repeat(shapes[:, axis], shapes[:, :axis].prod(axis=1))
        found = _lists(lengths, found)
    return found


def _lists(lengths: NDArray[Any], values: pa.Array, missing: pa.Array | None = None) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=missing)


def _has_views(kind: pa.DataType) -> bool:
    while not isinstance(kind, (pa.ListViewType, pa.LargeListViewType)):
        if not pa.types.is_nested(kind) or kind.num_fields != 1:
            return False
        kind = kind.field(0).type
    return True


def _without_views(array: pa.Array) -> pa.Array:
    """Return lists whose places may overlap, or be in any order, as lists one after another.

    Arrow's own cast mixes up their elements.
    """
    if not _has_views(array.type):
        return array
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    missing = array.is_null() if array.null_count else None
    return _lists(lengths, _without_views(array.flatten()), missing)


def _to_numpy(chunk: pa.Array) -> NDArray[Any] | None:
    """Return a chunk with rows as an array; None if its lists have several lengths."""
    shape = [len(chunk)]
    while pa.types.is_list(chunk.type):
        span = pc.min_max(chunk.value_lengths())
        if span["min"] != span["max"]:
            return None
        shape.append(span["max"].as_py() or 0)
        chunk = chunk.flatten()
    if pa.types.is_decimal(chunk.type):  # how Spark holds unsigned numbers of eight bytes
        chunk = chunk.cast(pa.uint64())
    values: NDArray[Any] = chunk.to_numpy(zero_copy_only=False)
    return values.reshape(shape)


def _empty(kind: pa.DataType) -> NDArray[Any]:
    depth = 0
    while pa.types.is_list(kind):
        kind, depth = kind.value_type, depth + 1
    values: NDArray[Any] = pa.array([], kind).to_numpy(zero_copy_only=False)
    return values.reshape((0,) * (depth + 1))
