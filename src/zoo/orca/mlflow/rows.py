"""Rows that MLflow hands over, as the Arrow batch that a worker takes from Spark.

Spark converts columns before they reach a worker; here nobody has done so yet.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import ColumnError, DataError, InvalidInputError
from zoo.orca.wire.arrow_columns import for_model, from_numpy, refusal, to_numpy
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

_ARROW = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "string": pa.binary(),
}


def batch_of(data: Any, columns: FeatureSpec) -> pa.RecordBatch:
    """Return the model's columns of a frame of pandas, or of a dict of arrays.

    Raises
    ------
    InvalidInputError
        If `data` is something else.
    ColumnError
        If a column is missing, or cannot be an input.
    DataError
        If a value is missing.
    """
    if not hasattr(data, "columns") and not isinstance(data, Mapping):
        kind = type(data).__qualname__
        raise InvalidInputError(
            f"the model predicts a pandas.DataFrame or a dict of arrays, got {kind}\n"
            f"Pass one with the columns {_names(columns)}"
        )
    arrays = [_column(data, column) for column in columns.columns]
    return pa.record_batch(arrays, [f"c{place}" for place in range(len(arrays))])


def _names(columns: FeatureSpec) -> list[str]:
    return list(dict.fromkeys(name for one in columns.columns for name in one.sources))


def _column(data: Any, column: ColumnSpec) -> pa.Array:
    parts = [_values(data, name) for name in column.sources]
    kind = _ARROW[column.dtype]
    if column.parts:
        named = zip(parts, column.sources, strict=True)
        return _stacked([_cast(part, kind, name) for part, name in named], kind)
    for _ in column.shape:
        kind = pa.list_(kind)
    return _combined(_cast(parts[0], kind, column.name))


def _values(data: Any, name: str) -> pa.ChunkedArray:
    """Return a column as Arrow has it; what pandas counts as missing is null."""
    if name not in data:
        there = list(map(str, data))[:30]
        raise ColumnError(f"there is no column {name!r}\nThe rows have the columns {there}")
    values = data[name]
    try:
        found = _read(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise ColumnError(
            f"column {name!r} cannot become a column of rows: {reason}\n"
            "Make it numbers, text, or arrays of them, all of one type"
        ) from error
    if found.null_count:
        raise DataError(
            f"column {name!r} holds nulls: {found.null_count:,} of {len(found):,} rows\n"
            "Leave these rows out, or fill them"
        )
    return found


def _read(values: Any) -> pa.ChunkedArray:
    if isinstance(values, (np.ndarray, list, tuple)):
        return from_numpy(np.asarray(values))
    if values.dtype == object and len(values):
        first = next((one for one in values if one is not None), None)
        if isinstance(first, np.ndarray):
            return from_numpy(_arrays(values.to_numpy()))
    found = pa.array(values, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _arrays(cells: NDArray[Any]) -> NDArray[Any]:
    """Return cells that are arrays as one array, where they have one shape."""
    shapes = {getattr(cell, "shape", None) for cell in cells}
    is_plain = all(isinstance(cell, np.ndarray) and cell.dtype.kind != "O" for cell in cells)
    return np.stack(list(cells)) if len(shapes) == 1 and is_plain and None not in shapes else cells


def _cast(values: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    """Return a column in the type of the model's, or of its elements for a part of a stack."""
    wanted = kind
    reason = "" if pa.types.is_null(values.type) else refusal(values.type)
    if not reason:
        try:
            found = for_model(values)
            if not pa.types.is_list(kind) and pa.types.is_list(found.type):
                wanted = pa.list_(kind)  # a part of a stack
            # Whole numbers that are too large are refused, and those of floats are rounded.
            return found.cast(wanted, safe=_innermost(kind) != pa.float32())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            reason = f"does not fit: {str(error).partition(chr(10))[0]}"
    raise ColumnError(
        f"column {name!r} {reason}; the model takes {wanted}\nConvert it to what the model was "
        "trained on"
    )


def _innermost(kind: pa.DataType) -> pa.DataType:
    while pa.types.is_list(kind):
        kind = kind.value_type
    return kind


def _stacked(parts: Sequence[pa.ChunkedArray], kind: pa.DataType) -> pa.Array:
    """Return columns of numbers and of arrays as one column of arrays."""
    found = [to_numpy(part) for part in parts]
    if all(part.dtype != object or kind == pa.binary() for part in found) and all(
        part.ndim == 1 + pa.types.is_list(whole.type)
        for part, whole in zip(found, parts, strict=True)
    ):
        whole = np.concatenate(
            [part if part.ndim == 2 else part[:, None] for part in found], axis=1
        )
        return _combined(from_numpy(whole).cast(pa.list_(kind)))
    lists = [
        part.to_pylist() if pa.types.is_list(part.type) else [[one] for one in part.to_pylist()]
        for part in parts
    ]
    rows = [list(chain.from_iterable(some)) for some in zip(*lists, strict=True)]
    return pa.array(rows, pa.list_(kind))


def _combined(values: pa.ChunkedArray) -> pa.Array:
    found = values.combine_chunks()
    if isinstance(found, pa.ChunkedArray):  # more than one array can hold
        found = found.chunk(0) if found.num_chunks else pa.array([], values.type)
    return found
