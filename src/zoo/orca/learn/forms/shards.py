"""XShards: frames, or ``{"x": …, "y": …}``, whose rows become Spark's on the executors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.data.shard.rows import ModelFrame
from zoo.orca.data.shard.xshards import XShards
from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.driver.predict import Answer
from zoo.orca.learn.forms.form import Columns


class ShardsForm:
    """An XShards; predictions are an XShards with the same shards and more in them.

    Parameters
    ----------
    data : XShards
    """

    asks = Answer(keeps_columns=True, has_vectors=False)
    is_placed = False
    rows = None

    def __init__(self, data: XShards) -> None:
        self._data, self._rows = data, ModelFrame(data)

    @property
    def session(self) -> SparkSession:
        """The session that the shards are in."""
        return self._data.session

    def own_columns(self) -> Columns:
        """Return what ``x`` and ``y`` stand for; nothing for frames. This computes one shard."""
        parts = self._rows.parts()
        return Columns(_named(parts.get("x")), _named(parts.get("y")))

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the rows of all shards; a call without labels gets its shards back."""
        wanted = frozenset(columns.names())
        return self._rows.frame(wanted, carries=columns.labels == ())

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> XShards:
        """Return the shards with a column, or an array, for each output."""
        return self._rows.answered(predicted, outputs)


def _named(columns: Sequence[str] | Mapping[str, str] | None) -> ColumnNames | None:
    if columns is None:
        return None
    return dict(columns) if isinstance(columns, Mapping) else list(columns)
