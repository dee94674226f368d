"""Shards as rows to learn from, and predictions back in their shards.

Where predictions are to come back, a shard goes along with its first row, packed as it is. So it
meets its predictions again without a second pass or a join.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.arrow_columns import for_model, from_numpy, refusal, to_numpy
from zoo.orca.wire.shards.packed import (
    COLUMNS,
    DATA,
    FORM,
    INDEX,
    ROWS,
    SCHEMA,
    cell_rows,
    is_pandas,
    pack_shard,
    unpack_shard,
)
from zoo.orca.worker.shards.columns import batches_of, fitted
from zoo.orca.worker.shards.steps import packed_or_failed
from zoo.orca.worker.shards.tasks import Batches, Task

#: Goes before the names of the columns that carry a shard, so that they are nobody's.
CARRIED = "__zoo_orca_shard_"
_CARRIED = pa.schema([field.with_name(CARRIED + field.name) for field in SCHEMA])


class Told(NamedTuple):
    """What one shard tells of all.

    Parameters
    ----------
    schema : bytes
        The serialized Arrow schema of its rows.
    row : bytes
        Its first row as an Arrow stream; empty if it has none.
    parts : dict
        The columns of ``x`` and ``y``: a list of names, or a dict by the user's keys; empty for a
        frame, which does not tell inputs from labels.
    """

    schema: bytes
    row: bytes
    parts: dict[str, list[str] | dict[str, str]]


@dataclass(frozen=True, slots=True)
class Tell:
    """Tells what a shard's rows are; `wanted` has the names, in lower case, of columns to read."""

    wanted: frozenset[str]

    def __call__(self, shard: Any) -> Told:
        """Return the schema and the first row."""
        table = model_table(shard, self.wanted)
        row = b""
        if table.num_rows:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.slice(0, 1))
            row = sink.getvalue().to_pybytes()
        parts = {} if is_pandas(shard) else _parts(shard)
        return Told(table.schema.serialize().to_pybytes(), row, parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRows:
    """Makes rows to learn from, or to predict.

    Parameters
    ----------
    schema : bytes
        The serialized Arrow schema of the model's columns.
    wanted : frozenset of str
        The names, in lower case, of columns to read.
    carries : bool
        Whether each shard goes along with its first row.
    row : bytes
        A row of some shard: one without rows goes along with that.
    """

    schema: bytes
    wanted: frozenset[str]
    carries: bool
    row: bytes

    def __call__(self, shard: Any, index: int) -> Iterator[pa.RecordBatch]:
        """Return the rows of a shard."""
        table = fitted(model_table(shard, self.wanted), read_schema(self.schema))
        if not self.carries:
            return batches_of(table)
        rows = table.num_rows
        if not rows:
            table = pa.ipc.open_stream(self.row).read_all()
        return self._carrying(table, shard, index, rows)

    def _carrying(
        self, table: pa.Table, shard: Any, index: int, rows: int
    ) -> Iterator[pa.RecordBatch]:
        packed = pack_shard(shard)
        given: tuple[Any, ...] = (packed.form, rows, packed.data)
        for batch in batches_of(table):
            nothing = [None] * (batch.num_rows - 1)
            columns = [pa.array([index] * batch.num_rows, pa.int64())]
            for field, value in zip(list(SCHEMA)[1:], given, strict=True):
                columns.append(pa.array([value, *nothing], field.type))
            given = (None, None, None)
            schema = pa.schema([*table.schema, *_CARRIED])
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)


def carrying(schema: pa.Schema) -> pa.Schema:
    """Return the schema of rows that carry their shards."""
    return pa.schema([*schema, *_CARRIED])


def make_answer_task(outputs: Mapping[str, int]) -> Task:
    """Return the task that puts predictions into the shards that the rows carry.

    Parameters
    ----------
    outputs : Mapping of str to int
        The position of each output's column. The columns that carry the shards are the first.
    """

    def task(batches: Batches) -> Batches:
        group: list[pa.RecordBatch] = []
        for batch in batches:
            for part in _by_shard(batch):
                if group and _cell(group[0], INDEX) != _cell(part, INDEX):
                    yield from _answered(group, outputs)
                    group = []
                group.append(part)
        if group:
            yield from _answered(group, outputs)

    return task


def _by_shard(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the parts of a batch that are of one shard."""
    index = batch.column(0).to_numpy(zero_copy_only=False)
    edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
    for low, high in zip(edges, edges[1:], strict=False):
        if high > low:
            yield batch.slice(low, high - low)


def _cell(batch: pa.RecordBatch, name: str) -> Any:
    return batch.column(COLUMNS.index(name))[0].as_py()


def _answered(group: list[pa.RecordBatch], outputs: Mapping[str, int]) -> Iterator[pa.RecordBatch]:
    first = group[0]
    rows = _cell(first, ROWS)

    def made() -> Any:
        shard = unpack_shard(_cell(first, FORM), _cell(first, DATA))
        table = pa.Table.from_batches(group)
        found = {name: to_numpy(table.column(place))[:rows] for name, place in outputs.items()}
        return with_predictions(shard, found)

    yield from cell_rows(iter([(_cell(first, INDEX), packed_or_failed(made))]))


def with_predictions(shard: Any, found: Mapping[str, NDArray[Any]]) -> Any:
    """Return a shard with predictions: as columns of a frame, as more arrays of a dict."""
    if not is_pandas(shard):
        return {**shard, **found}
    shard = shard.copy(deep=False)
    for name, values in found.items():
        cells = np.fromiter(values, object, len(values)) if values.ndim > 1 else values
        shard[name] = cells
    return shard


@dataclass(frozen=True, slots=True)
class NoPredictions:
    """Gives shards without rows their columns of predictions."""

    outputs: list[str]

    def __call__(self, shard: Any) -> Any:
        """Return the shard with empty predictions."""
        return with_predictions(shard, {name: np.empty(0, np.float32) for name in self.outputs})


def read_schema(data: bytes) -> pa.Schema:
    """Return a schema that was serialized."""
    return pa.ipc.read_schema(pa.py_buffer(data))


def model_table(shard: Any, wanted: frozenset[str]) -> pa.Table:
    """Return a shard's rows in the types that a model gets.

    Raises
    ------
    DataError
        If the shard is no frame or dict of arrays, or a column is not for a model.
    """
    if is_pandas(shard):
        return pa.table({str(name): _of_frame(shard, name, wanted) for name in shard.columns})
    named = named_arrays(shard)
    rows = {len(array) for array in named.values()}
    if len(rows) > 1:
        told = ", ".join(f"{name} has {len(array):,}" for name, array in named.items())
        raise DataError(f"arrays of one shard differ in rows: {told}\nGive all the same rows")
    return pa.table({name: _of_array(array, name) for name, array in named.items()})


def named_arrays(shard: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``{"x": …, "y": …}`` by the names of their columns.

    One array is ``x``; several are ``x_0``, ``x_1``, …; those of a dict ``x_`` and the key.
    """
    return {
        name: _array(name, value)
        for role, given in _roles(shard).items()
        for name, value in zip(_names(role, given), _values(given), strict=True)
    }


def _parts(shard: Any) -> dict[str, list[str] | dict[str, str]]:
    found: dict[str, list[str] | dict[str, str]] = {}
    for role, given in _roles(shard).items():
        names = _names(role, given)
        is_dict = isinstance(given, Mapping)
        found[role] = dict(zip(map(str, given), names, strict=True)) if is_dict else names
    return found


def _roles(shard: Any) -> dict[str, Any]:
    if not isinstance(shard, Mapping) or shard.get("x") is None:
        has = f" with the keys {list(shard)}" if isinstance(shard, Mapping) else ""
        raise DataError(
            f"the shard is of type {type(shard).__name__}{has}\n"
            "An estimator takes shards {'x': array, 'y': array}, or pandas frames with feature_cols"
        )
    return {role: shard[role] for role in ("x", "y") if shard.get(role) is not None}


def _is_several(value: Any) -> bool:
    """Whether inputs are several arrays; a list of numbers is one."""
    return isinstance(value, (tuple, list)) and any(hasattr(one, "shape") for one in value)


def _names(role: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{role}_{name}" for name in value]
    return [f"{role}_{place}" for place in range(len(value))] if _is_several(value) else [role]


def _values(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if _is_several(value) else [value]


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"{name} is no array: {str(error).partition('. ')[0]}\n"
            "All rows must have one shape: pad or cut them"
        ) from error
    if array.ndim == 0:
        raise DataError(
            f"{name} is of type {type(value).__name__}, not an array of rows\n"
            "Make it a numpy array, or a tuple or dict of such"
        )
    return array


def _of_array(array: NDArray[Any], name: str) -> pa.ChunkedArray:
    try:
        values = from_numpy(array)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{name} of dtype {array.dtype} cannot become a column of Spark: {error}\n"
            "Make it numbers or text, all of one type"
        ) from error
    return _for_model(values, name)


def _of_frame(frame: Any, name: Any, wanted: frozenset[str]) -> pa.ChunkedArray:
    """Return a column; one that nobody asks for holds nothing."""
    if str(name).lower() not in wanted:
        return pa.chunked_array([pa.nulls(len(frame), pa.float32())])
    series = frame[name]
    if series.dtype == object and len(series) and isinstance(series.iloc[0], np.ndarray):
        if series.iloc[0].ndim > 1:
            return _of_array(np.stack(series.to_numpy()), repr(name))
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"column {name!r} cannot become a column of Spark: {error}\n"
            "Make it numbers, text, or arrays of them, all of one type"
        ) from error
    chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return _for_model(chunked, f"column {name!r}")


def _for_model(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    if pa.types.is_null(values.type):  # there is no value: another shard tells the type
        return values
    reason = refusal(values.type)
    if reason:
        raise DataError(
            f"{name} {reason}, which no model input can take\n"
            "Make it numbers, text, or arrays of them, with transform_shard"
        )
    try:
        return for_model(values)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{name} of type {values.type} does not fit the numbers that Spark has: {error}\n"
            "Make them smaller, or text"
        ) from error
