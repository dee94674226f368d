"""The rows of an ordinary DataFrame as shards: one pandas frame a partition, or of so many rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark import TaskContext

from zoo.orca.wire.shards.packed import SHIFT, Packed, cell_rows
from zoo.orca.worker.shards.steps import Functions, packed_or_failed
from zoo.orca.worker.shards.tasks import Batches, Task


def make_frames_task(
    packed: Sequence[bytes], schema: bytes, shard_size: int | None, zone: str
) -> Task:
    """Return the task that makes pandas frames of a partition's rows.

    A partition without rows is a frame without rows, so that the shards are numbered as the
    partitions are. With `shard_size` it is no shard.

    Parameters
    ----------
    packed : sequence of bytes
        Functions to apply to each frame.
    schema : bytes
        The serialized Arrow schema of the rows, for partitions without any.
    shard_size : int or None
    zone : str
        The session's time zone, in which pandas gets its times.
    """

    def task(batches: Batches) -> Batches:
        context = TaskContext.get()
        partition = 0 if context is None else context.partitionId()
        steps = Functions(packed)
        named = pa.ipc.read_schema(pa.py_buffer(schema))
        if shard_size is None:
            groups = iter([list(batches) or [_nothing(named)]])
            first = partition
        else:
            groups = grouped(batches, shard_size)
            first = (partition + 1) << SHIFT
        yield from cell_rows(
            (index, _framed(steps, group, index, named.names, zone))
            for index, group in enumerate(groups, first)
        )

    return task


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema)


def _framed(
    steps: Functions, group: list[pa.RecordBatch], index: int, names: list[str], zone: str
) -> Packed:
    return packed_or_failed(lambda: steps.on_value(frame(group, names, zone), index))


def grouped(batches: Batches, rows: int) -> Iterator[list[pa.RecordBatch]]:
    """Yield lists of batches, of `rows` rows together; the last one has fewer."""
    group: list[pa.RecordBatch] = []
    missing = rows
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, missing)
            group.append(part)
            start, missing = start + part.num_rows, missing - part.num_rows
            if not missing:
                yield group
                group, missing = [], rows
    if group:
        yield group


def frame(batches: Sequence[pa.RecordBatch], names: list[str], zone: str) -> Any:
    """Return batches as one pandas frame; times are in the session's time zone, without a zone."""
    table = pa.Table.from_batches(batches)
    # Positions as names: those of the user may repeat.
    table = table.rename_columns([str(place) for place in range(len(names))])
    found = table.to_pandas(date_as_object=True, coerce_temporal_nanoseconds=True)
    for field in table.schema:
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            found[field.name] = found[field.name].dt.tz_convert(zone).dt.tz_localize(None)
    found.columns = names
    return found
