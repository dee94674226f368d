"""Arguments of a column function as the columns of a job, by type alone.

A DataFrame's columns are converted on the JVM (`zoo.orca.driver.frame.columns` and `stacks`). The
arguments of a function in an expression come as they are, and their types are known only here. So
the same conversions are made here, for many rows at once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zoo.orca.errors import ColumnError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.predicting.argument_names import argument_names, wrong_count
from zoo.orca.worker.rows.arrays import booleans, from_numbers, numbers

_ARROW = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.binary(),
}
_DTYPES = {
    pa.bool_(): "bool",
    pa.int8(): "int32",
    pa.int16(): "int32",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.float32(): "float32",
    pa.float64(): "float32",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.binary(): "string",
    pa.large_binary(): "string",
}
#: A stack gets the first of these dtypes that one of its columns has.
_WIDEST = ("string", "float32", "int64", "int32", "bool")
#: The struct in which Spark stores a Vector.
_VECTOR = ["type", "size", "indices", "values"]

Convert = Callable[[Sequence[pa.Array]], pa.Array]


class Arguments:
    """Makes the columns of a job of a function's arguments.

    Parameters
    ----------
    columns : FeatureSpec
        The job's columns. Their types follow the arguments, as those of a DataFrame would.
    kinds : sequence of pyarrow.DataType
        The arguments' types, in the order of `argument_names`.
    numbers_only : str
        The framework's name for users, if it has no tensors of strings.

    Attributes
    ----------
    columns : FeatureSpec
        The job's columns, with the types that the arguments have.

    Raises
    ------
    ColumnError
        If their number is wrong, or no model input can take one of them.
    """

    def __init__(
        self, columns: FeatureSpec, kinds: Sequence[pa.DataType], numbers_only: str
    ) -> None:
        names = argument_names(columns)
        if len(kinds) != len(names):
            raise ColumnError(wrong_count(names, len(kinds)))
        by_name = dict(zip(names, kinds, strict=True))
        specs, self._convert = {}, list[Convert]()
        for column in columns.columns:
            found = {name: _classified(name, by_name[name]) for name in column.sources}
            spec = _spec(column, found)
            if spec.dtype == "string" and numbers_only:
                raise ColumnError(spec.refused(f"{numbers_only} has no tensors of such"))
            specs[column.name] = spec
            places = [names.index(name) for name in column.sources]
            self._convert.append(_converter(spec, places, found))
        features = (
            replace(one, shape=specs[one.mask_of].shape) if one.mask_of else specs[one.name]
            for one in columns.features
        )
        self.columns = replace(columns, features=tuple(features))

    def batch(self, arrays: Sequence[pa.Array]) -> pa.RecordBatch:
        """Return the columns of the job, by position."""
        found = [convert(arrays) for convert in self._convert]
        return pa.RecordBatch.from_arrays(found, [f"c{place}" for place in range(len(found))])


def _classified(name: str, kind: pa.DataType) -> tuple[str, int]:
    """Return the dtype that a model gets of an argument's type, and how deep it is nested."""
    if _is_vector(kind):
        return "float32", 1
    depth, inner = 0, kind
    while isinstance(inner, (pa.ListType, pa.LargeListType)):
        inner, depth = inner.value_type, depth + 1
    dtype = "float32" if pa.types.is_decimal(inner) else _DTYPES.get(inner)
    if dtype is None:
        raise ColumnError(
            f"the argument for column {name!r} has the type {kind}, which no model input can take\n"
            "Turn it into a number, text or an array of these: CAST(x AS FLOAT) in SQL, "
            "column.cast('float') in Python"
        )
    return dtype, depth


def _spec(column: ColumnSpec, found: dict[str, tuple[str, int]]) -> ColumnSpec:
    """Return the spec of a column whose sources have these dtypes and depths."""
    if column.parts:
        return _stack_spec(column, found)
    dtype, depth = found[column.name]
    if column.padding is None:
        return replace(column, dtype=dtype, shape=(None,) * depth)
    if depth != len(column.shape) or (dtype == "string") != (column.dtype == "string"):
        raise ColumnError(
            f"the argument for column {column.name!r} holds {'arrays of ' * depth}{dtype}, and "
            f"what is padded are {'arrays of ' * len(column.shape)}{column.dtype}\n"
            "Pass a column like the one that the model has seen"
        )
    return replace(column, dtype=dtype)


def _stack_spec(column: ColumnSpec, found: dict[str, tuple[str, int]]) -> ColumnSpec:
    dtypes = {dtype for dtype, _ in found.values()}
    deep = [name for name, (_, depth) in found.items() if depth > 1]
    if deep:
        raise ColumnError(
            f"the argument for column {deep[0]!r} holds arrays of arrays, which cannot be stacked "
            f"with other columns\nFlatten it: flatten({deep[0]}) in SQL"
        )
    if "string" in dtypes and len(dtypes) > 1:
        raise ColumnError(
            f"the arguments for {list(found)} are strings and numbers, which cannot be stacked "
            "into one input\nPass columns like those that the model has seen"
        )
    dtype = next(kind for kind in _WIDEST if kind in dtypes)
    length = None if any(depth for _, depth in found.values()) else len(column.parts)
    return replace(column, dtype=dtype, shape=(length,))


def _converter(
    spec: ColumnSpec, places: Sequence[int], found: dict[str, tuple[str, int]]
) -> Convert:
    """Return the function that makes a column of all arguments."""
    depths = [depth for _, depth in found.values()]

    def convert(arrays: Sequence[pa.Array]) -> pa.Array:
        parts = [
            _cast(arrays[place], spec.dtype, depth)
            for place, depth in zip(places, depths, strict=True)
        ]
        return _stacked(parts) if spec.parts else parts[0]

    return convert


def _cast(array: pa.Array, dtype: str, depth: int) -> pa.Array:
    """Return values in the Arrow type of a dtype, as Spark's own cast makes them."""
    kind = _ARROW[dtype]
    inner = array.type
    if _is_vector(inner):
        array, inner = _from_vectors(array), pa.float64()
    while isinstance(inner, (pa.ListType, pa.LargeListType)):
        inner = inner.value_type
    if pa.types.is_decimal(inner):
        # Arrow computes the float, and may miss the nearest one; reading its digits does not.
        array = array.cast(_nested(pa.string(), depth))
    if pa.types.is_boolean(inner) and dtype != "bool":
        array = array.cast(_nested(pa.uint8(), depth))
    target = _nested(kind, depth)
    # Not safe: a large whole number becomes the nearest float.
    return array if array.type == target else array.cast(target, safe=False)


def _nested(kind: pa.DataType, depth: int) -> pa.DataType:
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def _stacked(parts: Sequence[pa.Array]) -> pa.Array:
    """Return rows that have each part's value, or values, end to end."""
    rows = len(parts[0])
    flat, lengths, starts, null_rows = [], [], [], np.zeros(rows, np.bool_)
    begin = 0
    for part in parts:
        count = np.ones(rows, np.int64)
        if isinstance(part.type, pa.ListType):
            null_rows |= booleans(part.is_null())
            count = _lengths(part)
            part = part.flatten()
        flat.append(part)
        lengths.append(count)
        starts.append(begin + np.cumsum(count) - count)
        begin += len(part)
    order = _ranges(np.stack(starts, 1).reshape(-1), np.stack(lengths, 1).reshape(-1))
    values = pa.concat_arrays(flat).take(from_numbers(order))
    return _lists(np.sum(lengths, axis=0), values, null_rows)


def _from_vectors(array: pa.Array) -> pa.Array:
    """Return Spark's Vectors, dense or sparse, as lists of doubles; a null stays one."""
    kinds, sizes, indices, values = array.flatten()
    if pc.min(kinds).as_py() in (1, None):
        return values
    is_null, is_dense = booleans(array.is_null()), numbers(kinds.fill_null(1)) == 1
    held = _lengths(values)
    lengths = np.where(is_dense, held, numbers(sizes.fill_null(0)).astype(np.int64))
    starts = np.cumsum(lengths) - lengths
    of_dense = np.repeat(is_dense, held)
    places = _ranges(np.zeros(len(held), np.int64), held)
    places[~of_dense] = numbers(indices.flatten())
    found = np.zeros(int(lengths.sum()))
    found[np.repeat(starts, held) + places] = numbers(values.flatten())
    return _lists(lengths, from_numbers(found), is_null)


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return numbers(lists.value_lengths().fill_null(0)).astype(np.int64)


def _ranges(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each start on, as many as its length says, one after another."""
    first = np.cumsum(lengths) - lengths
    return np.repeat(starts - first, lengths) + np.arange(int(lengths.sum()))


def _lists(lengths: NDArray[np.int64], values: pa.Array, null_rows: NDArray[np.bool_]) -> pa.Array:
    offsets = from_numbers(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = from_numbers(null_rows.view(np.uint8)).cast(pa.bool_()) if null_rows.any() else None
    return pa.ListArray.from_arrays(offsets, values, mask=mask)


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and [field.name for field in kind] == _VECTOR


def columns_of(batches: Iterator[Any]) -> Iterator[tuple[pa.Array, ...]]:
    """Yield the arguments of each batch; Spark passes a single one without a tuple."""
    for batch in batches:
        yield batch if isinstance(batch, tuple) else (batch,)
