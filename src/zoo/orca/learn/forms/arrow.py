"""Arrow tables and record batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.forms.tables import OwnTable, Ways, as_arrays, frame_of
from zoo.orca.wire.arrow_columns import from_numpy

_WAYS = {
    "nulls": "Drop these rows with {data}.filter({data}[{name}].is_valid()), or fill them",
    "fill": ": {data}[{name}].fill_null({value})",
    "empty": ": {data}[{name}].fill_null([])",
    "moments": "Add it as numbers: {data}.append_column('number', {data}[{name}].cast('int64'))",
    "days": "Add it as numbers: {data}.append_column('number', {data}[{name}].cast('date32')"
    ".cast('int32'))",
    "parts": "Use its fields as columns: {data}.flatten() has one called {name} + '.{part}'",
    "others": "Make it numbers, text, or lists of them, or leave it out",
}


class ArrowForm(OwnTable):
    """A table or a record batch; predictions are one with more columns."""

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the rows as a DataFrame of the session."""
        table = self._table()
        readers = [
            (name, partial(_lists, column))
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        ways = Ways(argument=self._argument, label=str, **_WAYS)
        return frame_of(spark, readers, columns, ways)

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> Any:
        """Return the table, or the batch, with the outputs as its last columns."""
        table = self._table()
        for name, values in as_arrays(predicted).items():
            table = table.append_column(name, values)
        if isinstance(self._data, pa.Table):
            return table
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)

    def _table(self) -> Any:
        if isinstance(self._data, pa.Table):
            return self._data
        return pa.Table.from_batches([self._data])


def _lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column; one of tensors as nested lists."""
    if not isinstance(column.type, pa.FixedShapeTensorType):
        return column
    parts = [from_numpy(chunk.to_numpy_ndarray()) for chunk in column.chunks]
    return pa.chunked_array([piece for part in parts for piece in part.chunks])
