"""Predictions in the child: Arrow batches in, Arrow batches out, one model for many of them."""

import io
from collections.abc import Callable
from queue import Queue
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.packing import unpack
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
    """Answer every "batch" with "predictions" until "end"."""
    job = cast(PredictJob, unpack(message.blob))
    framework = load(job)
    framework.prepare(job, World(Alone(), lambda progress: None))
    predict, _ = framework.predictor(job)
    sender.send("ready")
    while (command := commands.get()).kind == "batch":
        batch = decode(command.blob)
        outputs = predict(batch_columns(batch, job.columns))
        arrays = [to_arrow(output) for output in outputs]
        names = [f"p{index}" for index in range(len(arrays))]
        sender.send("predictions", encode(pa.RecordBatch.from_arrays(arrays, names)))


def encode(batch: pa.RecordBatch) -> bytes:
    """Return one batch as an Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode(data: bytes) -> pa.RecordBatch:
    """Return the batch that `encode` wrote."""
    with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
        return reader.read_next_batch()


def to_arrow(output: NDArray[Any]) -> pa.Array:
    """Return one output, (rows, ...), as an array of each row's slice: float, or nested lists."""
    values = np.ascontiguousarray(output, np.float32)
    array = pa.array(values.reshape(-1))
    rows = values.shape[0]
    for axis in range(values.ndim - 1, 0, -1):
        lists = rows * int(np.prod(values.shape[1:axis], dtype=np.int64))
        offsets = np.arange(lists + 1, dtype=np.int32) * values.shape[axis]
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array
