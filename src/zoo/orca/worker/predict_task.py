"""The task of a lazy prediction: each batch of a partition through this Python worker's child."""

import os
import pickle
from collections.abc import Callable, Iterator

import pyarrow as pa

from zoo.orca.errors import OrcaError, error_class
from zoo.orca.wire.job import Failure, PredictJob
from zoo.orca.worker import child as children
from zoo.orca.worker.child import Child
from zoo.orca.worker.predicting import decode, encode


def make_predict_task(
    job: bytes, inputs: int, heartbeat: float
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for `mapInArrow` that appends predictions.

    Parameters
    ----------
    job : bytes
        A pickled `zoo.orca.wire.job.PredictJob`.
    inputs : int
        How many of the last columns of each batch are the model's; all others are kept.
    heartbeat : float
        Seconds of silence after which the child counts as frozen.
    """

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        child: Child | None = None
        idle = False
        try:
            for batch in batches:
                if child is None:  # an empty partition starts nothing
                    child = _start(pickle.loads(job), job, heartbeat)
                kept = batch.num_columns - inputs
                features = batch.select(list(range(kept, batch.num_columns)))
                child.send("batch", encode(features))
                answer = child.wait("predictions", "failed", heartbeat=heartbeat)
                if answer.kind == "failed":
                    raise _error(answer.values, child)
                predictions = decode(answer.blob)
                columns = [*batch.columns[:kept], *predictions.columns]
                names = [*batch.schema.names[:kept], *predictions.schema.names]
                idle = True
                yield pa.RecordBatch.from_arrays(columns, names)
                idle = False
            idle = True
        finally:
            # An action like limit() ends the generator between two batches, where the child is
            # as good as new; anywhere else its pipe may hold half an answer.
            if child is not None and idle:
                child.send("end")
                children.release(child)
            elif child is not None:
                child.kill()

    return task


def _start(job: PredictJob, packed: bytes, heartbeat: float) -> Child:
    threads = job.threads or 1
    child = children.acquire({**job.environment, "OMP_NUM_THREADS": str(threads)})
    child.noise = job.noise
    child.send("predict", packed)
    try:
        ready = child.wait("ready", "failed", heartbeat=heartbeat)
    except OrcaError:
        child.kill()
        raise
    if ready.kind == "failed":
        child.kill()
        raise _error(ready.values, child)
    return child


def _error(values: dict[str, object], child: Child) -> OrcaError:
    failure = Failure.from_json(dict(values))
    log = "\n".join(child.log)
    where = f"process {child.pid} on {os.uname().nodename}"
    return error_class(failure.error)(f"{where}: {failure.message}\n{failure.traceback}\n{log}")
