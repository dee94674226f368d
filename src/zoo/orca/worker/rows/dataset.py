"""Rows as numpy arrays: from a spooled file, mapped, and from one batch."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.faults import null_message, ragged_message
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.messages.rows import Finding
from zoo.orca.worker.rows.arrays import numbers
from zoo.orca.worker.rows.blocks import in_order
from zoo.orca.worker.rows.columns import (
    Parts,
    null_rows,
    rows_by_length,
    show_row,
    take_apart,
    to_numpy,
)
from zoo.orca.worker.rows.files import private, writing
from zoo.orca.worker.rows.padding import cut, filled, rows_filled

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
    during the job. So is one with columns to pad. It is opened once.

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
        By the user's column names, and those of masks, of shape (rows, *row shape), read-only.
        Numbers are mapped, not read, so memory does not limit them. Strings are object arrays of
        bytes, all in memory whatever the data budget is: turn large columns of strings into numbers
        with Spark.
    """
    with pa.memory_map(path) as source:
        reader = pa.ipc.open_file(source)
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    batches = move(in_order(batches, path))
    rows = sum(batch.num_rows for batch in batches)
    wanted = _stored_columns(spec)
    flat = _one_after_another(batches, wanted, f"{path}.columns")
    if _is_rewritten(batches, wanted):
        os.remove(path)  # the last array that is mapped from it keeps its data alive
    return {
        one.spec.name: values.reshape(rows, *(length or 0 for length in one.spec.shape))
        for one, values in zip(wanted, flat, strict=True)
    }


def batch_columns(batch: pa.RecordBatch, spec: FeatureSpec) -> dict[str, NDArray[Any]]:
    """Return the rows of one batch, whose columns are those of ``spec.columns``.

    Raises
    ------
    DataError
        If values are null, or array lengths differ. The message names the column and a row.
    """
    columns = [batch.column(index) for index in range(len(spec.columns))]
    found: dict[str, NDArray[Any]] = {}
    for index in range(len(columns)):
        found |= _batch_column(index, columns, spec)
    return found


class _Wanted(NamedTuple):
    """An array of rows, and the stored column that it is made of."""

    spec: ColumnSpec
    place: int
    stored: ColumnSpec


def _stored_columns(spec: FeatureSpec) -> list[_Wanted]:
    """Return the columns as they are stored, then the masks."""
    found = [_Wanted(column, index, column) for index, column in enumerate(spec.columns)]
    places = {one.spec.name: one for one in found}
    return found + [
        _Wanted(mask, places[mask.mask_of].place, places[mask.mask_of].stored)
        for mask in spec.masks
    ]


def _is_rewritten(batches: list[pa.RecordBatch], wanted: list[_Wanted]) -> bool:
    return len(batches) != 1 or any(one.stored.padding is not None for one in wanted)


def _one_after_another(
    batches: list[pa.RecordBatch], wanted: list[_Wanted], scratch: str
) -> list[NDArray[Any]]:
    """Return each column's innermost values in one array.

    One batch is used as it is mapped, unless columns are padded. Otherwise numbers go into the
    file `scratch`, which is mapped in turn, so memory does not limit them.
    """
    if not _is_rewritten(batches, wanted):
        return [_stored(batches[0], one.place, one.spec.dtype) for one in wanted]
    places = []
    with writing(os.path.dirname(scratch)), open(scratch, "wb", opener=private) as file:
        for one in wanted:
            start = file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            if one.spec.dtype != "string":
                for values in _pieces(batches, one):
                    # Not tofile, whose errors do not say why.
                    file.write(np.ascontiguousarray(values).data)
            places.append(slice(start, file.tell()))
    mapped = np.memmap(scratch, np.uint8, "r") if os.path.getsize(scratch) else _NOTHING
    return [
        np.concatenate([np.empty(0, object), *(v.reshape(-1) for v in _pieces(batches, one))])
        if one.spec.dtype == "string"
        else np.asarray(mapped[place]).view(_NUMPY[one.spec.dtype])
        for one, place in zip(wanted, places, strict=True)
    ]


def _pieces(batches: list[pa.RecordBatch], one: _Wanted) -> Iterator[NDArray[Any]]:
    """Yield the values of a column, padded if it is to be, or those of its mask."""
    for batch in batches:
        padding = one.stored.padding
        if padding is None:
            yield _stored(batch, one.place, one.spec.dtype)
            continue
        parts = take_apart(batch.column(one.place), len(one.stored.shape))
        fill: Any = False
        if one.spec.mask_of:
            values = np.ones(len(parts.values), np.bool_)
        else:
            values, fill = _numpy(parts.values, one.spec.dtype), padding.fill
        yield from rows_filled(parts, values, one.stored, fill)


def _stored(batch: pa.RecordBatch, index: int, dtype: str) -> NDArray[Any]:
    values = batch.column(index)
    if isinstance(values, pa.FixedSizeListArray):
        values = values.flatten()  # not .values, which ignores slices
    return _numpy(values, dtype)


def _numpy(stored: pa.Array, dtype: str) -> NDArray[Any]:
    """Return stored values as a flat array; booleans are stored as bytes."""
    if dtype == "string":
        return to_numpy(stored, dtype)
    return numbers(stored).view(_NUMPY[dtype])


def _batch_column(
    index: int, columns: list[pa.Array], spec: FeatureSpec
) -> dict[str, NDArray[Any]]:
    """Return one column of a batch, and its mask if it has one."""
    specs = spec.columns
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
    if column.padding is not None:
        return _padded(parts, column, spec.mask_name(column))
    shape = parts.shape
    if shape is None:
        raise DataError(_ragged(index, columns, specs))
    expected = zip(shape, column.shape, strict=True)
    if any(None not in (found, known) and found != known for found, known in expected):
        example = show_row(columns, specs, 0, index)
        raise DataError(
            f"column {column.name!r} holds arrays of shape {shape}, and the model was trained with "
            f"{column.shape}, for example {example}\n"
            "Give it arrays of the shape that the model was trained with; a column that training "
            "named column(...), of zoo.orca.data, is padded and cut to it"
        )
    values = to_numpy(parts.values, column.dtype)
    return {column.name: values.reshape(len(array), *(length or 0 for length in shape))}


def _padded(parts: Parts, column: ColumnSpec, mask: str) -> dict[str, NDArray[Any]]:
    padding, shape = column.padding, [length or 0 for length in column.shape]
    if padding is None:
        raise TypeError(f"column {column.name!r} is not padded")
    parts = cut(parts, shape, padding.keep)
    values = to_numpy(parts.values, column.dtype)
    found = {column.name: filled(values, parts.lengths, shape, padding.fill)}
    if mask:
        found[mask] = filled(np.ones(len(values), np.bool_), parts.lengths, shape, False)
    return found


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
        ],
        column,
    )
