"""Rows from outside of Spark: each column an Arrow array, moved into a session in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from zoo.orca.driver.predict import Answer, collected
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.session.properties import session_setting
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.learn.forms.form import Columns
from zoo.orca.refusals import noted, stand_in_for
from zoo.orca.wire.arrow_columns import for_model, refusal, typed_as
from zoo.orca.wire.padding import PaddedColumn

#: A piece of rows becomes one array of bytes in the JVM, and part of the message that is a task.
_PIECE_BYTES = 8 << 20
#: What the rows of one partition may have. Spark's limit for a task is 128 MiB.
_PARTITION_BYTES = 32 << 20
#: A table of up to so many bytes may be part of Spark's plan. Spark makes it so up to 48 MiB, which
#: takes several seconds for a million rows, in each job anew.
_PLAN_BYTES = 1 << 20
_PLAN_LIMIT = "spark.sql.execution.arrow.localRelationThreshold"
#: What one table has that goes to a Spark Connect server: above 64 MiB it is a file of its own, and
#: no part of the plan, and below Spark's limit it is one task's at worst.
_SERVER_BYTES = 96 << 20


class OwnTable:
    """What forms have in common whose rows the program itself holds, outside of Spark.

    Parameters
    ----------
    data : object
        The rows as the user gave them.
    argument : str
        What the user calls them.
    """

    asks = Answer(keeps_columns=False, has_vectors=False)
    is_placed = False
    session = None

    def __init__(self, data: Any, argument: str) -> None:
        self._data, self._argument = data, argument

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._data)

    def own_columns(self) -> Columns:
        """Return nothing: a table does not tell inputs from labels."""
        return Columns()


#: The user's name for a column, and what makes its values an Arrow array.
Readers = Sequence[tuple[str, Callable[[], pa.ChunkedArray]]]


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What to do about a column, in the words of its form.

    In each text ``{name}`` is the column and ``{data}`` the argument.

    Parameters
    ----------
    argument : str
        What the user calls the rows.
    nulls : str
        How to get rid of nulls.
    fill : str
        How to fill them with ``{value}``.
    empty : str
        How to have empty arrays in place of null ones, which are padded.
    moments, days, parts : str
        How times, dates and structs become numbers.
    others : str
        What to do about any other column.
    label : callable
        Returns what the form itself calls a column.
    """

    argument: str
    nulls: str
    fill: str
    empty: str
    moments: str
    days: str
    parts: str
    others: str
    label: Callable[[str], Any]

    @property
    def where(self) -> str:
        """What the first lines say behind a column's name."""
        return "" if self.argument == "data" else f" of {self.argument}"

    def convert(self, name: str, kind: pa.DataType | None = None) -> str:
        """Return what to do about a column of a type, if Arrow has one for it."""
        text = self.others
        if kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_duration(kind)):
            text = self.moments
        elif kind is not None and pa.types.is_date(kind):
            text = self.days
        elif kind is not None and pa.types.is_struct(kind) and kind.num_fields:
            text, part = self.parts, kind.field(0).name
            return text.format(name=repr(self.label(name)), data=self.argument, part=part)
        return text.format(name=repr(self.label(name)), data=self.argument)

    def without_nulls(self, name: str, kind: pa.DataType, *, is_padded: bool) -> str:
        """Return how a column of a type gets rid of nulls."""
        text = self.nulls
        if not pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType):
            text += self.fill
        elif is_padded:
            text += self.empty
        value = repr(_usual(kind))
        return text.format(name=repr(self.label(name)), data=self.argument, value=value)


def frame_of(spark: SparkSession, readers: Readers, columns: Columns, ways: Ways) -> DataFrame:
    """Return a DataFrame of the columns that a call names; the others are nulls, and do not move.

    Raises
    ------
    ColumnError
        If a column that is named cannot become one of Spark's.
    DataError
        If a column that is named holds nulls.
    """
    wanted, padded = columns.names(), columns.padded()
    found: dict[str, pa.ChunkedArray] = {}
    others = {}
    for place, (name, read) in enumerate(readers):
        if name.lower() in wanted:
            values = _read(name, read, ways, padded.get(name.lower()))
            if values is not None:
                found[f"c{place}"] = values
            else:
                stand_in_for(name)
                others[f"c{place}"] = F.lit(0.0)
    if not readers:
        raise ColumnError(
            f"{ways.argument} has no columns\nGive it the columns that are the model's inputs"
        )
    # A call that names no column of these fails for want of one, and needs no rows.
    frame = moved(spark, pa.table(found)) if found else spark.range(0)
    # By position: the user's names may repeat, or hold dots.
    return frame.select(
        *(
            (F.col(column) if column in found else others.get(column, F.lit(None))).alias(name)
            for column, name in ((f"c{place}", name) for place, (name, _) in enumerate(readers))
        )
    )


@noted()
def _read(
    name: str, read: Callable[[], pa.ChunkedArray], ways: Ways, padded: PaddedColumn | None
) -> pa.ChunkedArray | None:
    try:
        values = read()
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ColumnError):
            raise
        raise ColumnError(
            f"column {name!r}{ways.where} cannot become a column of Spark: {_first_line(error)}\n"
            f"{ways.convert(name)}"
        ) from error
    if padded is not None:
        values = typed_as(values, padded)
    if pa.types.is_null(values.type):  # no value tells which: there is none, or all are nulls
        values = values.cast(pa.float32())
    reason = refusal(values.type)
    if reason:
        raise ColumnError(
            f"column {name!r}{ways.where} {reason}, which no model input can take\n"
            f"{ways.convert(name, values.type)}"
        )
    if values.null_count:
        raise DataError(
            f"column {name!r}{ways.where} holds nulls: {values.null_count:,} of "
            f"{len(values):,} {'row' if len(values) == 1 else 'rows'}\n"
            f"{ways.without_nulls(name, values.type, is_padded=padded is not None)}"
        )
    try:
        return for_model(values)
    except pa.ArrowInvalid as error:
        raise ColumnError(
            f"column {name!r}{ways.where} of type {values.type} does not fit the numbers that "
            f"Spark has: {_first_line(error)}\n{ways.convert(name)}"
        ) from error


def _usual(kind: pa.DataType) -> bool | int | str | bytes:
    """Return what nulls of a type are filled with, if nobody knows better."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(kind):
        return False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ""
    is_binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return b"" if is_binary else 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def moved(spark: SparkSession, table: pa.Table) -> DataFrame:
    """Return a table's rows, in their order, in partitions of a size that Spark can send.

    Classic Spark makes a partition of each piece, of at most ``arrow.maxRecordsPerBatch`` rows,
    which are ten thousand by default: a thousand tasks for ten million rows.
    """
    pieces = in_pieces(table)
    if is_connect(spark):
        if not pieces.num_rows:  # a client reads no types off a table without rows
            return spark.createDataFrame(pieces, from_arrow_schema(pieces.schema))
        # A server cuts a table into as many tasks as it has cores, however large each becomes.
        parts = -(-pieces.nbytes // _SERVER_BYTES) or 1
        rows = -(-pieces.num_rows // parts)
        frames = [spark.createDataFrame(pieces.slice(rows * n, rows)) for n in range(parts)]
        return reduce(DataFrame.unionAll, frames)
    if pieces.nbytes <= _PLAN_BYTES:
        return spark.createDataFrame(pieces)
    with session_setting(spark, _PLAN_LIMIT, "0"):
        frame = spark.createDataFrame(pieces)
    least = -(-pieces.nbytes // _PARTITION_BYTES)
    return frame.coalesce(max(least, spark.sparkContext.defaultParallelism))


def in_pieces(table: pa.Table) -> pa.Table:
    """Return a table in chunks of some megabytes: neither one a row, nor one of them all."""
    if not table.num_rows:
        return table.schema.empty_table()  # Spark fails at a column of lists without a chunk
    if not table.num_columns:
        return table
    rows = max(1, int(_PIECE_BYTES * table.num_rows / max(1, table.nbytes)))
    chunks = max(column.num_chunks for column in table.columns)
    if chunks > 4 * (1 + table.num_rows // rows):
        table = table.combine_chunks()
    return pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)


def as_arrays(predicted: DataFrame) -> Mapping[str, pa.ChunkedArray]:
    """Return the columns of predictions, rows in order. This runs the prediction."""
    table = collected(predicted)
    return dict(zip(table.column_names, table.columns, strict=True))
