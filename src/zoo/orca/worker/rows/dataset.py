"""Rows as numpy arrays: from spooled files, mapped, and from one batch."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.faults import null_message, ragged_message
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.messages.rows import Finding
from zoo.orca.worker.rows.arrays import from_numbers, numbers
from zoo.orca.worker.rows.blocks import in_order
from zoo.orca.worker.rows.column_files import ColumnFile, mapped, remove, write_rows
from zoo.orca.worker.rows.columns import (
    Parts,
    null_rows,
    rows_by_length,
    show_row,
    take_apart,
    to_numpy,
)
from zoo.orca.worker.rows.files import writing
from zoo.orca.worker.rows.padding import cut, filled, rows_filled
from zoo.orca.worker.rows.texts import Texts

_NUMPY: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.bool_),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "float32": np.dtype(np.float32),
    "string": np.dtype(object),
}


def open_rows(
    path: str,
    spec: FeatureSpec,
    move: Callable[[list[pa.RecordBatch]], list[pa.RecordBatch]] = lambda batches: batches,
) -> dict[str, NDArray[Any]]:
    """Return the rows that `zoo.orca.worker.rows.spool.Spool` wrote, and own their files.

    Rows that come last are written behind the others. Rows in another order are written anew and
    the files removed, so that rows are not on disk twice during the job. So are columns to pad.
    Rows are opened once.

    Parameters
    ----------
    path : str
    spec : FeatureSpec
        With every array length filled in.
    move : callable
        Takes the rows in order and returns this worker's rows.

    Returns
    -------
    dict of str to array
        By the user's column names, and those of masks, of shape (rows, *row shape), read-only. They
        are mapped, not read, so memory does not limit them. Of strings there are `Texts`, whose
        rows become object arrays of bytes when they are taken.
    """
    whole = mapped(path, spec.columns)
    batches = move(in_order([whole] if whole.num_rows else [], path))
    wanted = _stored_columns(spec)
    is_first = bool(batches) and batches[0] is whole
    if any(one.stored.padding is not None for one in wanted):
        rows = _written_anew(batches, wanted, path)
    elif is_first and len(batches) > 1:
        _write_behind(whole, batches[1:], wanted, path)
        rows = mapped(path, spec.columns)
    else:
        rows = whole if is_first else _written_anew(batches, wanted, path)
    return {one.spec.name: _array(rows, number, one.spec) for number, one in enumerate(wanted)}


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


def _write_behind(
    whole: pa.RecordBatch, others: list[pa.RecordBatch], wanted: list[_Wanted], path: str
) -> None:
    """Write rows behind those that lie in the files already."""
    with writing(os.path.dirname(path)):
        for one in wanted:
            file = ColumnFile(path, one.place, one.spec.dtype)
            file.write(_innermost(batch, one.place) for batch in others)
        write_rows(path, whole.num_rows + sum(batch.num_rows for batch in others))


def _written_anew(
    batches: list[pa.RecordBatch], wanted: list[_Wanted], path: str
) -> pa.RecordBatch:
    """Write rows in their order, padded where they are to be, and the masks behind the columns."""
    scratch = f"{path}.columns"
    with writing(os.path.dirname(path)):
        for number, one in enumerate(wanted):
            file = ColumnFile(scratch, number, one.spec.dtype)
            if one.stored.padding is None:
                file.write(_innermost(batch, one.place) for batch in batches)
                continue
            for values in _padded_pieces(batches, one):
                if one.spec.dtype == "string":
                    file.write_texts(values.reshape(-1).tolist())
                else:
                    file.write([from_numbers(_as_stored(values))])
        write_rows(scratch, sum(batch.num_rows for batch in batches))
    remove(path)  # the last array that is mapped from it keeps its data alive
    return mapped(scratch, [replace(one.spec, padding=None) for one in wanted])


def _padded_pieces(batches: list[pa.RecordBatch], one: _Wanted) -> Iterator[NDArray[Any]]:
    """Yield the values of a column, padded, or those of its mask."""
    for batch in batches:
        parts = take_apart(batch.column(one.place), len(one.stored.shape))
        fill: Any = False
        if one.spec.mask_of:
            values = np.ones(len(parts.values), np.bool_)
        else:
            values = _numpy(parts.values, one.spec.dtype)
            fill = one.stored.padding.fill if one.stored.padding else None
        yield from rows_filled(parts, values, one.stored, fill)


def _as_stored(values: NDArray[Any]) -> NDArray[Any]:
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(np.uint8) if flat.dtype == np.bool_ else flat


def _innermost(batch: pa.RecordBatch, index: int) -> pa.Array:
    values = batch.column(index)
    # Not .values, which ignores slices.
    return values.flatten() if isinstance(values, pa.FixedSizeListArray) else values


def _array(rows: pa.RecordBatch, index: int, column: ColumnSpec) -> Any:
    """Return a column as an array, which texts are for those who take rows of them."""
    shape = (rows.num_rows, *(length or 0 for length in column.shape))
    values = _innermost(rows, index)
    if column.dtype == "string":
        return Texts(values, shape)
    return _numpy(values, column.dtype).reshape(shape)


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
