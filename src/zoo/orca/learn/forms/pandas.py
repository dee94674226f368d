"""pandas' DataFrames: values that pandas holds as objects become Arrow's by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.forms.tables import OwnTable, Ways, as_arrays, frame_of
from zoo.orca.wire.arrow_columns import from_numpy, to_numpy

_WAYS = {
    "nulls": "Drop these rows with {data}.dropna(subset=[{name}]), or fill them",
    "fill": ": {data}.fillna({{{name}: {value}}})",
    "empty": ": {data}[{name}] = {data}[{name}].map("
    "lambda row: row if hasattr(row, '__len__') else [])",
    "moments": "Make it numbers: {data}[{name}] = {data}[{name}].astype('int64')",
    "days": "Make it numbers: {data}[{name}] = pandas.to_datetime({data}[{name}]).astype('int64')",
    "parts": "Take out what is in it: {data}[{name}] = {data}[{name}].str['{part}']",
    "others": "Make it numbers, text, or arrays of them, all of one type, or leave it out",
}


class PandasForm(OwnTable):
    """A frame of pandas; predictions are a frame with the same index and more columns."""

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the rows as a DataFrame of the session, without the index."""
        readers = [
            # By position: names may repeat.
            (str(name), partial(_column, self._data, index))
            for index, name in enumerate(self._data.columns)
        ]
        ways = Ways(argument=self._argument, label=partial(label_of, self._data), **_WAYS)
        return frame_of(spark, readers, columns, ways)

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> Any:
        """Return a copy with the outputs as columns: numbers, or an array in each cell."""
        result = self._data.copy(deep=False)
        for name, column in as_arrays(predicted).items():
            values = to_numpy(column)
            if values.ndim > 1:
                values = np.fromiter(values, object, len(values))
            result[name] = values
        return result


def label_of(data: Any, name: str) -> Any:
    """Return what a frame calls a column, which may be a number; the name itself for a new one."""
    return next((label for label in data.columns if str(label) == name), name)


def _column(data: Any, index: int) -> pa.ChunkedArray:
    """Return a column as Arrow has it; NaN, NaT, NA and None are nulls."""
    series = data.iloc[:, index]
    if hasattr(series.dtype, "fill_value"):  # pandas' own compression of zeros
        series = series.sparse.to_dense()
    if getattr(series.dtype, "byteorder", "=") in "<>":  # not this machine's order of bytes
        series = series.astype(series.dtype.newbyteorder("="))
    if series.dtype == object and len(series):
        is_there = series.notna().to_numpy()
        first = series.iloc[int(is_there.argmax())]
        if isinstance(first, np.ndarray) and first.ndim > 1:
            return from_numpy(series.where(is_there, None).to_numpy())
    found = pa.array(series, from_pandas=True)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])
