"""Frames that are in Spark already: its own, and pandas-on-Spark's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver.predict import Answer
from zoo.orca.learn.forms.form import Columns


class SparkForm:
    """A Spark DataFrame, classic or Connect: taken and answered as it is, lazily."""

    asks = Answer()
    is_placed = True
    rows = None

    def __init__(self, data: DataFrame) -> None:
        self._data = data

    @property
    def session(self) -> SparkSession:
        """The session of the DataFrame."""
        return self._data.sparkSession

    def own_columns(self) -> Columns:
        """Return nothing: a DataFrame does not tell inputs from labels."""
        return Columns()

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the DataFrame itself."""
        return self._data

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> DataFrame:
        """Return the predictions as they are."""
        return predicted


class PandasOnSparkForm:
    """A frame of `pyspark.pandas`: its index goes through Spark as columns, and comes back."""

    asks = Answer(has_vectors=False)
    is_placed = True
    rows = None

    def __init__(self, data: Any) -> None:
        self._data = data
        # Levels of an index may have no name, or one that a column has, too.
        self._index = [f"__orca_index_{level}__" for level in range(data.index.nlevels)]

    @property
    def session(self) -> SparkSession:
        """The session of the frame that is below."""
        session: SparkSession = self._data.spark.frame().sparkSession
        return session

    def own_columns(self) -> Columns:
        """Return nothing: a frame does not tell inputs from labels."""
        return Columns()

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the frame below, lazily, with the index behind its columns."""
        found: DataFrame = self._data.to_spark(index_col=self._index)
        return found

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> Any:
        """Return a frame of `pyspark.pandas`, lazily, with the index of the one that was given."""
        found = predicted.pandas_api(index_col=self._index)
        found.index.names = list(self._data.index.names)
        return found
