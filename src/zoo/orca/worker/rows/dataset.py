"""Rows as numpy arrays: from a spooled file, mapped, and from one batch."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.faults import null_message, ragged_message
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.messages.rows import Finding
from zoo.orca.worker.rows.arrays import numbers
from zoo.orca.worker.rows.blocks import in_order
from zoo.orca.worker.rows.columns import null_rows, rows_by_length, show_row, take_apart, to_numpy
from zoo.orca.worker.rows.files import private, writing

_NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "string": np.dtype(object),
}
_ALIGNMENT = 8
_NOTHING = np.empty(0, np.uint8)


def open_rows(
    path: str,
    spec: FeatureSpec,
    move: Callable[[list[pa.RecordBatch]], list[pa.RecordBatch]] = lambda batches: batches,
) -> dict[str, NDArray[Any]]:
    """Return the rows of a file that `zoo.orca.worker.rows.spool.Spool` wrote, and own the file.

    A file of several batches is rewritten and removed, so that its rows are not on disk twice
    during the job. It is opened once.

    Parameters
    ----------
    path : str
    spec : FeatureSpec
        With every array length filled in.
    move : callable
        Takes the file's rows in order and returns this worker's rows.

    Returns
    -------
    dict of str to array
        By the user's column names, of shape (rows, *row shape), read-only. Numbers are mapped, not
        read, so memory does not limit them. Strings are object arrays of bytes, all in memory
        whatever the data budget is: turn large columns of strings into numbers with Spark.
    """
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    batches = move(in_order(batches, path))
    rows = sum(batch.num_rows for batch in batches)
    flat = _one_after_another(batches, spec, f"{path}.columns")
    if len(batches) > 1:
        os.remove(path)  # the last array that is mapped from it keeps its data alive
    return {
        column.name: values.reshape(rows, *(length or 0 for length in column.shape))
        for column, values in zip(spec.columns, flat, strict=True)
    }


def batch_columns(batch: pa.RecordBatch, spec: FeatureSpec) -> dict[str, NDArray[Any]]:
    """Return the rows of one batch, whose columns are those of ``spec.columns``.

    Raises
    ------
    DataError
        If values are null, or array lengths differ. The message names the column and a row.
    """
    columns = [batch.column(index) for index in range(len(spec.columns))]
    return {
        column.name: _batch_column(index, columns, spec.columns)
        for index, column in enumerate(spec.columns)
    }


def _one_after_another(
    batches: list[pa.RecordBatch], spec: FeatureSpec, scratch: str
) -> list[NDArray[Any]]:
    """Return each column's innermost values in one array.

    One batch is used as it is mapped. Several batches are joined: numbers go into the file
    `scratch`, which is mapped in turn, so memory does not limit them.
    """
    if len(batches) == 1:
        return [_stored(batches[0], index, c.dtype) for index, c in enumerate(spec.columns)]
    places = []
    with writing(os.path.dirname(scratch)), open(scratch, "wb", opener=private) as file:
        for index, column in enumerate(spec.columns):
            start = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            if column.dtype != "string":
                for batch in batches:
                    # Not tofile, whose errors do not say why.
                    file.write(np.ascontiguousarray(_stored(batch, index, column.dtype)).data)
            places.append(slice(start, file.tell()))
    mapped = np.memmap(scratch, np.uint8, "r") if os.path.getsize(scratch) else _NOTHING
    return [
        _strings(batches, index)
        if column.dtype == "string"
        else np.asarray(mapped[place]).view(_NUMPY[column.dtype])
        for index, (column, place) in enumerate(zip(spec.columns, places, strict=True))
    ]


def _stored(batch: pa.RecordBatch, index: int, dtype: str) -> NDArray[Any]:
    values = batch.column(index)
    if isinstance(values, pa.FixedSizeListArray):
        values = values.flatten()  # not .values, which ignores slices
    if dtype == "string":
        return to_numpy(values, dtype)
    return numbers(values).view(_NUMPY[dtype])


def _strings(batches: list[pa.RecordBatch], index: int) -> NDArray[Any]:
    found = [_stored(batch, index, "string") for batch in batches]
    return np.concatenate([np.empty(0, object), *found])


def _batch_column(
    index: int, columns: list[pa.Array], specs: tuple[ColumnSpec, ...]
) -> NDArray[Any]:
    column, array = specs[index], columns[index]
    parts = take_apart(array, len(column.shape))
    if parts.has_nulls:
        outer, inner = null_rows(array, len(column.shape))
        kind, rows = ("null", outer) if len(outer) else ("null inside", inner)
        example = show_row(columns, specs, int(rows[0]), index)
        finding = Finding(
            column=column.name, data="train", kind=kind, rows=len(rows), example=example
        )
        raise DataError(null_message(finding, len(array), column))
    shape = parts.shape
    if shape is None:
        raise DataError(_ragged(index, columns, specs))
    expected = zip(shape, column.shape, strict=True)
    if any(None not in (found, known) and found != known for found, known in expected):
        example = show_row(columns, specs, 0, index)
        raise DataError(
            f"column {column.name!r} holds arrays of shape {shape}, and the model was trained with "
            f"{column.shape}, for example {example}\n"
            "Pad or cut the arrays to the shape that the model was trained with"
        )
    return to_numpy(parts.values, column.dtype).reshape(
        len(array), *(length or 0 for length in shape)
    )


def _ragged(index: int, columns: list[pa.Array], specs: tuple[ColumnSpec, ...]) -> str:
    """Say which lengths a column's arrays have, at the outermost level where they differ."""
    column, depth = specs[index], len(specs[index].shape)
    for level in range(depth):
        lengths = rows_by_length(columns[index], depth, level)
        if len(lengths) > 1:
            break
    return ragged_message(
        [
            Finding(
                column=column.name,
                data="train",
                kind="length",
                rows=rows,
                example=show_row(columns, specs, first, index),
                level=level,
                length=length,
            )
            for length, (rows, first) in lengths.items()
        ]
    )
