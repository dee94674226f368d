"""Frames of pandas as the rows of an ordinary DataFrame.

The first shard says what the columns are. Every other one must have the same; only numbers are
converted, and only where that loses nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from zoo.orca.errors import DataError
from zoo.orca.wire.shards.packed import is_pandas

#: Bytes of one Arrow batch. The offsets of nested lists are numbers of 32 bits.
_BATCH_BYTES = 16 << 20
#: Marks a column in a schema. pandas makes floats of one that has no values.
WITHOUT_VALUES = {b"orca": b"without values"}
#: Spark has no unsigned numbers and no halves.
_WIDER = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
}


class RowsOfShard(Protocol):
    """Makes rows of a shard."""

    def __call__(self, shard: Any, index: int) -> Iterator[pa.RecordBatch]:
        """Return Arrow batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRows:
    """Makes rows of pandas frames.

    Parameters
    ----------
    schema : bytes
        The serialized Arrow schema of the rows.
    zone : str
        The session's time zone, in which pandas's times without a zone are.
    """

    schema: bytes
    zone: str

    def __call__(self, shard: Any, index: int) -> Iterator[pa.RecordBatch]:
        """Return the rows of a frame, its columns in the schema's types."""
        schema = pa.ipc.read_schema(pa.py_buffer(self.schema))
        table = fitted(frame_table(shard, self.zone), schema)
        return batches_of(table)


def frame_table(shard: Any, zone: str) -> pa.Table:
    """Return a pandas frame as an Arrow table in types that Spark has.

    Raises
    ------
    DataError
        If the shard is no frame, or a column has no type of Spark's.
    """
    if not is_pandas(shard):
        raise DataError(
            f"the shard is a {type(shard).__name__}, not a pandas DataFrame\n"
            "Only frames have columns: make one with transform_shard"
        )
    if not all(isinstance(name, str) for name in shard.columns):
        shard = shard.rename(columns=str)
    columns, fields = [], []
    for name in shard.columns:
        try:
            column = _spark_type(pa.array(shard[name], from_pandas=True), zone)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"column {name!r} has no type of Spark's: {error}\n"
                "Let all its values be of one type: frame[name].astype(...)"
            ) from error
        columns.append(column)
        fields.append(pa.field(name, column.type))
    if not columns:
        raise DataError("the frame has no columns\nLet the function return at least one")
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _spark_type(column: pa.Array | pa.ChunkedArray, zone: str) -> pa.Array | pa.ChunkedArray:
    """Return a column in a type that Spark has."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        if kind.tz is None:
            column = pc.assume_timezone(column, zone)
        return column.cast(pa.timestamp("us", "UTC"), safe=False)
    if pa.types.is_dictionary(kind):
        return _spark_type(column.cast(kind.value_type), zone)
    if pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_duration(kind):
        return column.cast(pa.duration("us"), safe=False)
    return column.cast(_WIDER[kind]) if kind in _WIDER else column


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table in the types of the first shard's.

    Raises
    ------
    DataError
        If columns are missing, or of another type.
    """
    if table.schema.names != schema.names:
        raise DataError(
            f"the columns are {', '.join(map(repr, table.schema.names))}, and those of the first "
            f"shard {', '.join(map(repr, schema.names))}\n"
            "Let the function give every shard the same columns"
        )
    return pa.Table.from_arrays(
        [_cast(table[field.name], field) for field in schema], schema=schema
    )


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    given, wanted = column.type, field.type
    if given == wanted:
        return column
    both = (given, wanted)
    if pa.types.is_null(given) or all(map(is_number, both)):
        try:
            return column.cast(wanted, safe=True)
        except pa.ArrowInvalid as error:
            raise _differs(column, field) from error
    if column.null_count == len(column):  # pandas makes floats of a column without values
        return pa.chunked_array([pa.nulls(len(column), wanted)])
    raise _differs(column, field)


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are whole numbers or floats."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _differs(column: pa.ChunkedArray, field: pa.Field) -> DataError:
    return DataError(
        f"column {field.name!r} is {column.type}, and {field.type} in the first shard\n"
        "Let the function give every shard the same types"
    )


def batches_of(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield a table in bounded batches."""
    rows = max(1, table.num_rows)
    step = max(1, _BATCH_BYTES // max(1, table.nbytes // rows))
    yield from table.to_batches(max_chunksize=step)


@dataclass(frozen=True, slots=True)
class FrameSchema:
    """Tells the schema of a frame's rows."""

    zone: str

    def __call__(self, shard: Any) -> bytes:
        """Return the serialized Arrow schema; columns without any value are marked."""
        table = frame_table(shard, self.zone)
        fields = [
            field.with_metadata(WITHOUT_VALUES if column.null_count == len(column) else {})
            for field, column in zip(table.schema, table.columns, strict=True)
        ]
        return pa.schema(fields).serialize().to_pybytes()  # type: ignore[no-any-return]
