"""Shards that are not computed yet: a DataFrame, and functions to apply to each of its shards.

Functions that follow each other run in one task: a shard is unpacked once. A frame of shards has a
row for each (`zoo.orca.wire.shards.packed`); a plain DataFrame becomes frames of pandas, one a
partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from zoo.orca.driver.frame.sequence import keys_of
from zoo.orca.driver.reports.failures import check_session, translate
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.interrupts import interruptible
from zoo.orca.driver.session.pythons import check_python, workers_python
from zoo.orca.driver.session.shipping import ship_package
from zoo.orca.wire.packing import pack
from zoo.orca.wire.shards.packed import (
    COLUMNS,
    DATA,
    FAILED,
    FORM,
    INDEX,
    ROWS,
    SCHEMA,
    cell_rows,
    pack_shard,
    unpack_shard,
)
from zoo.orca.worker.shards.columns import FrameRows, RowsOfShard
from zoo.orca.worker.shards.cutting import Cutter
from zoo.orca.worker.shards.reading import make_frames_task
from zoo.orca.worker.shards.steps import Function, UsersCall, shard_error
from zoo.orca.worker.shards.tasks import (
    TARGET,
    make_apply_task,
    make_checked_task,
    make_cut_task,
    make_join_task,
    make_pair_task,
    make_rows_task,
    make_stack_task,
)

_CELLS = T.StructType(
    [
        T.StructField(INDEX, T.LongType()),
        T.StructField(FORM, T.StringType()),
        T.StructField(ROWS, T.LongType()),
        T.StructField(DATA, T.BinaryType()),
    ]
)
_PIECES = T.StructType([*_CELLS.fields, T.StructField(TARGET, T.IntegerType())])
_SIDE = "side"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard, as an action brings it."""

    index: int
    rows: int
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyShards:
    """Shards that are not computed yet.

    Parameters
    ----------
    source : DataFrame
        Rows that are packed shards, or, with `is_plain`, any rows.
    steps : tuple of bytes
        Pickled functions.
    is_plain : bool
        Whether each partition of `source` becomes a frame of pandas.
    shard_size : int or None
        The rows of one such frame; None for all rows of a partition.
    partitions : int or None
        The number of partitions, if it is known.
    """

    source: DataFrame
    steps: tuple[bytes, ...] = ()
    is_plain: bool = False
    shard_size: int | None = None
    partitions: int | None = None

    @property
    def spark(self) -> SparkSession:
        """The session that the shards belong to."""
        return self.source.sparkSession

    def then(self, function: Function | UsersCall, what: str = "the function") -> LazyShards:
        """Return the shards with one function more.

        Raises
        ------
        CreatorError
            If the function cannot be sent to the workers.
        """
        return replace(self, steps=(*self.steps, pack(function, what)))

    def frame(self) -> DataFrame:
        """Return the frame of packed shards, to which all functions are applied."""
        if self.is_plain:
            schema = to_arrow_schema(self.source.schema, timezone="UTC")
            task = make_frames_task(
                self.steps, schema.serialize().to_pybytes(), self.shard_size, zone_of(self.spark)
            )
            # Under our own names: the user's may repeat, or hold dots.
            source = self.source.toDF(*(f"c{place}" for place in range(len(schema))))
            return _mapped(source, task, _CELLS)
        if not self.steps:
            return self.source
        return _mapped(self.source, make_apply_task(self.steps), _CELLS)

    def packed(self) -> LazyShards:
        """Return the shards with a frame of packed shards as their source."""
        if not self.is_plain:
            return self
        return LazyShards(source=self.frame(), partitions=self.partitions)

    def rows(self, schema: pa.Schema, rows: RowsOfShard) -> DataFrame:
        """Return an ordinary DataFrame with the rows that `rows` makes of each shard."""
        packed = self.packed()
        task = make_rows_task(packed.steps, rows)
        return _mapped(packed.source, task, from_arrow_schema(schema, prefer_timestamp_ntz=True))

    def frame_rows(self, schema: pa.Schema) -> DataFrame:
        """Return an ordinary DataFrame with the rows of frames of pandas."""
        told = schema.serialize().to_pybytes()
        return self.rows(schema, FrameRows(schema=told, zone=zone_of(self.spark)))

    def regrouped(self, cutter: Cutter, shards: int) -> LazyShards:
        """Return other shards, joined of the pieces that `cutter` makes of these."""
        packed = self.packed()
        pieces = _mapped(packed.source, make_cut_task(packed.steps, cutter), _PIECES)
        placed = _placed(pieces, F.col(TARGET), shards).sortWithinPartitions(INDEX)
        joined = _mapped(placed, make_join_task(), _CELLS)
        return LazyShards(source=joined, partitions=shards)

    def stacked(self) -> LazyShards:
        """Return the rows that each partition's shards are as one dict of arrays."""
        packed = self.packed()
        return LazyShards(source=_mapped(packed.source, make_stack_task(packed.steps), _CELLS))

    def placed(self, targets: dict[int, int], partitions: int) -> LazyShards:
        """Return the same shards in other partitions, by their index."""
        placed = placed_by(self.frame(), targets, partitions).sortWithinPartitions(INDEX)
        return LazyShards(source=placed, partitions=partitions)

    def renumbered(self, indexes: dict[int, int]) -> LazyShards:
        """Return the same shards with other indexes."""
        pairs = [F.lit(one) for pair in indexes.items() for one in pair]
        index = F.try_element_at(F.create_map(*pairs), F.col(INDEX)).alias(INDEX)
        frame = self.frame().select(index, *COLUMNS[1:])
        return LazyShards(source=frame, partitions=self.partitions)

    def checked(self) -> DataFrame:
        """Return the frame of packed shards whose actions fail where a shard has failed."""
        return _mapped(self.frame(), make_checked_task(), _CELLS)

    def collect(self) -> list[Shard]:
        """Compute all shards and bring them here, in their order.

        Raises
        ------
        ShardError
            If a function failed on a shard.
        """
        return _opened(asked(self.spark, self.frame().select(*COLUMNS).toArrow).to_pylist())

    def first(self, count: int) -> list[Shard]:
        """Compute the first shards alone and bring them here."""
        rows = asked(self.spark, self.frame().select(*COLUMNS).limit(count).collect)
        return _opened([row.asDict() for row in rows])

    def status(self) -> list[Shard]:
        """Compute all shards, and return them without their values.

        Raises
        ------
        ShardError
            If a function failed on a shard.
        """
        return status_of(self.frame())


def status_of(frame: DataFrame) -> list[Shard]:
    """Compute a frame of packed shards; return the index and length of each.

    Raises
    ------
    ShardError
        If a function failed on a shard.
    """
    told = F.when(F.col(FORM) == FAILED, F.col(DATA)).alias(DATA)
    query = frame.select(INDEX, FORM, ROWS, told)
    rows = asked(frame.sparkSession, query.toArrow).to_pylist()
    return _opened(rows, with_values=False)


def asked(spark: SparkSession, action: Callable[[], Answer]) -> Answer:
    """Return what an action of Spark's returns; its failure becomes one of our errors.

    Raises
    ------
    OrcaError
    """
    check_session(spark)
    try:
        return interruptible(spark, action)
    except spark_errors() as error:
        # Not `from error`: Python would print Spark's pages of Java above the line that counts.
        raise translate(error, 0, spark) from None


def paired(left: LazyShards, right: LazyShards, targets: dict[int, int], count: int) -> LazyShards:
    """Return pairs of the shards that have the same index, in `count` partitions."""
    both = left.frame().select(*COLUMNS, F.lit(0).alias(_SIDE))
    both = both.unionAll(right.frame().select(*COLUMNS, F.lit(1).alias(_SIDE)))
    placed = placed_by(both, targets, count).sortWithinPartitions(INDEX, _SIDE)
    return LazyShards(source=_mapped(placed, make_pair_task(), _CELLS), partitions=count)


def placed_by(frame: DataFrame, targets: dict[int, int], partitions: int) -> DataFrame:
    """Return a frame's rows in the partitions that their index names."""
    pairs = [F.lit(one) for pair in targets.items() for one in pair]
    target = F.try_element_at(F.create_map(*pairs), F.col(INDEX)) if pairs else F.lit(0)
    return _placed(frame, target, partitions)


def in_order(frame: DataFrame) -> LazyShards:
    """Return the shards of a frame whose partitions are in any order, each in one of its own."""
    # Spark reads the largest files first, and actions take partitions in their order. The first
    # job reads the indexes alone.
    found = asked(frame.sparkSession, frame.select(INDEX).toArrow)[INDEX].to_pylist()
    targets = {index: place for place, index in enumerate(sorted(found))}
    count = max(1, len(targets))
    placed = placed_by(frame.select(*COLUMNS), targets, count)
    return LazyShards(source=placed, partitions=len(targets))


def local_shards(spark: SparkSession, values: Sequence[Any]) -> LazyShards:
    """Return shards of values that are here."""
    rows = list(cell_rows((index, pack_shard(value)) for index, value in enumerate(values)))
    # A chunk for each shard: Spark makes a partition of each, or some of several.
    table = pa.Table.from_batches(rows, SCHEMA)
    frame = asked(spark, lambda: spark.createDataFrame(table, _CELLS))
    return LazyShards(source=frame, partitions=len(values))


def cells_schema() -> T.StructType:
    """Return the schema of a frame of packed shards."""
    return _CELLS


def mapped_cells(frame: DataFrame, task: Callable[..., Any]) -> DataFrame:
    """Return the frame of packed shards that a task makes of a frame's rows."""
    return _mapped(frame, task, _CELLS)


def zone_of(spark: SparkSession) -> str:
    """Return the session's time zone, in which pandas's times without a zone are."""
    return str(spark.conf.get("spark.sql.session.timeZone", "UTC"))


def _mapped(frame: DataFrame, task: Callable[..., Any], schema: T.StructType) -> DataFrame:
    spark = frame.sparkSession
    check_python(spark)
    ship_package(spark)
    with workers_python(spark):
        return frame.mapInArrow(task, schema)


def _placed(frame: DataFrame, target: Any, partitions: int) -> DataFrame:
    # Spark chooses the partition by a hash, so each target is named by a number with its hash.
    keys = F.array(*map(F.lit, keys_of(partitions)))
    return frame.repartition(partitions, F.get(keys, target))


def _opened(rows: list[dict[str, Any]], *, with_values: bool = True) -> list[Shard]:
    rows.sort(key=lambda row: row[INDEX])
    for row in rows:
        if row[FORM] == FAILED:
            raise shard_error(row[INDEX], bytes(row[DATA]))
    return [
        Shard(
            index=row[INDEX],
            rows=row[ROWS],
            value=unpack_shard(row[FORM], bytes(row[DATA])) if with_values else None,
        )
        for row in rows
    ]
