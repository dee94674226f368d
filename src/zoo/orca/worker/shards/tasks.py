"""The tasks that run over a frame of shards, each a function for `mapInArrow`.

What fails on a shard is a row, as everywhere: later functions pass it on, and the driver raises it.
Only where shards become rows of an ordinary DataFrame, whose actions are Spark's own, is it raised
in the task.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zoo.orca.errors import DataError, ShardError
from zoo.orca.wire.shards.packed import COLUMNS, FAILED, Packed, cell_rows
from zoo.orca.worker.shards.columns import RowsOfShard
from zoo.orca.worker.shards.cutting import OTHER_EACH_TIME, Cutter
from zoo.orca.worker.shards.pieces import join_rows
from zoo.orca.worker.shards.steps import (
    Failed,
    Functions,
    caught,
    packed_or_failed,
    packed_value,
    shard_error,
    stack_rows,
)

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]

#: What an exchange adds: the shard that a piece goes to.
TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of a frame of shards."""

    index: int
    packed: Packed
    target: int


def cells(batches: Iterable[pa.RecordBatch]) -> Iterator[Cell]:
    """Yield the rows, the bytes of one at a time."""
    for batch in batches:
        has_target = TARGET in batch.schema.names
        for row in range(batch.num_rows):
            index, form, rows, data = (batch[name][row].as_py() for name in COLUMNS)
            target = batch[TARGET][row].as_py() if has_target else -1
            packed = Packed(form=form, rows=rows, data=data)
            yield Cell(index=index, packed=packed, target=target)


def make_apply_task(packed: Sequence[bytes]) -> Task:
    """Return the task that applies functions to each shard."""

    def task(batches: Batches) -> Batches:
        steps = Functions(packed)
        yield from cell_rows((one.index, _applied(steps, one)) for one in cells(batches))

    return task


def _applied(steps: Functions, cell: Cell) -> Packed:
    return packed_or_failed(lambda: steps.on_packed(cell.packed, cell.index))


def make_cut_task(packed: Sequence[bytes], cutter: Cutter) -> Task:
    """Return the task that cuts each shard into pieces for the shards that will be."""

    def task(batches: Batches) -> Batches:
        steps = Functions(packed)
        for cell in cells(batches):
            for target, piece in _pieces(steps, cutter, cell):
                for batch in cell_rows(iter([(cell.index, piece)])):
                    yield batch.append_column(TARGET, pa.array([target], pa.int32()))

    return task


def _pieces(steps: Functions, cutter: Cutter, cell: Cell) -> Iterator[tuple[int, Packed]]:
    try:
        pieces = caught(lambda: list(cutter(steps.on_packed(cell.packed, cell.index), cell.index)))
    except Failed as failed:
        yield 0, failed.packed
        return
    for target, piece in pieces:
        yield target, packed_value(piece)


def make_join_task() -> Task:
    """Return the task that makes one shard of the pieces in a partition, in their order."""

    def task(batches: Batches) -> Batches:
        nothing = Functions(())
        pieces: list[Any] = []
        target = -1
        for cell in cells(batches):
            target = cell.target
            try:
                pieces.append(nothing.on_packed(cell.packed, cell.index))
            except Failed as failed:
                # Its own index is what the user is told.
                yield from cell_rows(iter([(cell.index, failed.packed)]))
                return
        if pieces:
            joined = packed_or_failed(lambda: join_rows(pieces))
            yield from cell_rows(iter([(target, joined)]))

    return task


def make_stack_task(packed: Sequence[bytes]) -> Task:
    """Return the task that makes one dict of arrays of the rows that a partition's shards are."""

    def task(batches: Batches) -> Batches:
        steps = Functions(packed)
        first, values = -1, list[Any]()
        for cell in cells(batches):
            first = first if values else cell.index
            try:
                values.append(steps.on_packed(cell.packed, cell.index))
            except Failed as failed:
                yield from cell_rows(iter([(cell.index, failed.packed)]))
                return
        if values:
            stacked = packed_or_failed(lambda: stack_rows(values))
            yield from cell_rows(iter([(first, stacked)]))

    return task


def make_pair_task() -> Task:
    """Return the task that makes pairs of the shards that follow each other in a partition."""

    def task(batches: Batches) -> Batches:
        rows = cells(batches)
        yield from cell_rows((left.index, _paired(left, next(rows, None))) for left in rows)

    return task


def _paired(left: Cell, right: Cell | None) -> Packed:
    nothing = Functions(())

    def pair() -> Any:
        if right is None or right.index != left.index:
            raise DataError(
                "it has no shard to be paired with, as it had when the shards were counted\n"
                f"{OTHER_EACH_TIME}"
            )
        return tuple(nothing.on_packed(side.packed, side.index) for side in (left, right))

    return packed_or_failed(pair)


def make_rows_task(packed: Sequence[bytes], rows: RowsOfShard) -> Task:
    """Return the task that makes rows of an ordinary DataFrame of each shard."""

    def task(batches: Batches) -> Batches:
        steps = Functions(packed)
        for cell in cells(batches):
            try:
                yield from _rows(steps, rows, cell)
            except Failed as failed:
                raise _hidden(cell.index, failed.data) from None

    return task


def _rows(steps: Functions, rows: RowsOfShard, cell: Cell) -> Iterator[pa.RecordBatch]:
    return caught(  # type: ignore[no-any-return]
        lambda: rows(steps.on_packed(cell.packed, cell.index), cell.index)
    )


def make_checked_task() -> Task:
    """Return the task that passes shards on, and raises if one has failed: they are to be kept."""

    def task(batches: Batches) -> Batches:
        for cell in cells(batches):
            if cell.packed.form == FAILED:
                raise _hidden(cell.index, cell.packed.data)
            yield from cell_rows(iter([(cell.index, cell.packed)]))

    return task


def _hidden(index: int, failure: bytes) -> ShardError:
    """Return the error to raise in a task, without this file's frames above it."""
    os.environ["SPARK_HIDE_TRACEBACK"] = "1"
    return ShardError(str(shard_error(index, failure)))
