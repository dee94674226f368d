"""Predictions in the child: Arrow batches in, raw numbers out, one model for many of them.

The columns go as an Arrow stream, several batches of it in one message. The outputs come back as
bare float32 values with their shapes: Arrow arrays are made around them where they are needed.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Queue
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.packing import unpack
from zoo.orca.worker.arrays import from_numbers
from zoo.orca.worker.collective import Alone
from zoo.orca.worker.dataset import batch_columns
from zoo.orca.worker.pipes import Message, Sender
from zoo.orca.worker.plugin import Framework, World


def serve_predictions(
    message: Message,
    sender: Sender,
    commands: "Queue[Message]",
    load: Callable[[PredictJob], Framework],
) -> None:
    """Answer every "batches" with "predictions" until "end"."""
    job = cast(PredictJob, unpack(message.blob))
    framework = load(job)
    framework.prepare(job, World(Alone(), lambda progress: None))
    predict, _ = framework.predictor(job)
    sender.send("ready")
    while (command := commands.get()).kind == "batches":
        outputs = predict(batch_columns(decode(command.blob), job.columns))
        values = [np.ascontiguousarray(output, np.float32) for output in outputs]
        shapes = [one.shape for one in values]
        sender.send("predictions", [one.reshape(-1).data for one in values], shapes=shapes)


def encode(batches: Sequence[pa.RecordBatch]) -> list[memoryview]:
    """Return batches of one schema as the pieces of an Arrow stream, each copied once."""
    pieces = [batches[0].schema.serialize(), *(batch.serialize() for batch in batches)]
    return [memoryview(piece) for piece in pieces]


def decode(stream: bytes) -> pa.RecordBatch:
    """Return the rows of all batches that `encode` wrote, as one batch; one batch is not copied."""
    with pa.ipc.open_stream(pa.BufferReader(stream)) as reader:
        batches = list(reader)
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def read_outputs(message: Message) -> list[NDArray[np.float32]]:
    """Return the outputs that "predictions" brings, each of the shape (rows, ...), not copied."""
    sizes = [int(np.prod(shape, dtype=np.int64)) for shape in message.values["shapes"]]
    ends = list(itertools.accumulate(sizes))
    values = np.frombuffer(message.blob, np.float32)
    return [
        values[end - size : end].reshape(shape)
        for size, end, shape in zip(sizes, ends, message.values["shapes"], strict=True)
    ]


def split(
    outputs: list[NDArray[np.float32]], rows: Iterable[int]
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield the outputs of the first so many rows, of the next so many, and so on."""
    start = 0
    for count in rows:
        yield [output[start : start + count] for output in outputs]
        start += count


def to_arrow(output: NDArray[Any]) -> pa.Array:
    """Return one output, (rows, ...), as an array of each row's slice.

    A row of rank 0 is a float and one of rank 2 or more nested lists of them. One of rank 1 is
    Spark's Vector: made here it costs a tenth of what Spark's own function costs on the JVM.
    """
    values = np.ascontiguousarray(output, np.float32)
    if values.ndim == 2:
        return _vectors(values)
    array = from_numbers(values)
    for axis in range(values.ndim - 1, 0, -1):
        lists = int(np.prod(values.shape[:axis], dtype=np.int64))
        array = _lists(array, lists, values.shape[axis])
    return array


def _vectors(values: NDArray[np.float32]) -> pa.Array:
    """Return rows as dense vectors: the struct that stores a Vector, its type 1 being dense."""
    rows, length = values.shape
    fields = {
        "type": from_numbers(np.ones(rows, np.int8)),
        "size": pa.nulls(rows, pa.int32()),
        "indices": pa.nulls(rows, pa.list_(pa.int32())),
        "values": _lists(from_numbers(values.astype(np.float64)), rows, length),
    }
    return pa.StructArray.from_arrays(list(fields.values()), list(fields))


def _lists(array: pa.Array, count: int, length: int) -> pa.Array:
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
    return pa.ListArray.from_arrays(from_numbers(offsets), array)
