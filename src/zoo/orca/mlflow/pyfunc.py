"""A model as MLflow's python function: it predicts in a child process, as Spark's tasks do.

So the framework stays out of a server's process, and out of Spark's Python worker. There, the child
stays warm for the next task, whoever asked first: `predict`, or a function of MLflow's.
"""

import os
import pickle
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import OrcaError, StateError, error_class
from zoo.orca.mlflow.artifact import Artifact, read_artifact
from zoo.orca.mlflow.rows import batch_of
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Predictions, Ready
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.outputs import OutputSpec, joined
from zoo.orca.wire.processors import usable_processors
from zoo.orca.worker.predictions import Output, encode, read_outputs
from zoo.orca.worker.task import warm_children as children
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.threads import threads_for

#: Seconds of silence after which the child counts as frozen, as spark.orca.heartbeat.timeout.
_HEARTBEAT_SECONDS = 60.0
#: Rows that go to the child at once.
_ROWS = 1 << 16
_WIDENED = {"uint8": "int16", "uint16": "int32", "uint32": "int64"}

M = TypeVar("M", Ready, Predictions)


def loaded(path: str, model_config: Mapping[str, Any] | None = None) -> "OrcaFunction":
    """Return what predicts with the model in a directory.

    Parameters
    ----------
    path : str
    model_config : dict, optional
        "threads" of the processor, by default those of Spark's task, elsewhere all; "batch_size",
        the most rows that the model sees at once; "heartbeat", the seconds of silence after which
        the process that predicts counts as frozen.

    Raises
    ------
    StateError
        If the files are not those of a model.
    """
    artifact, given = read_artifact(Path(path)), dict(model_config or {})
    job = PredictJob(
        model=artifact.model,
        columns=_columns(artifact, path),
        state=artifact.state.to_bytes(),
        seed=artifact.options["seed"],
        environment=dict(artifact.options["environment"]),
        noise=tuple(artifact.options["noise"]),
        threads=int(given.get("threads") or _threads()),
        batch_size=given.get("batch_size"),
        outputs=tuple(map(OutputSpec.from_json, artifact.state.meta["outputs"])),
        inputs=_inputs(artifact),
    )
    return OrcaFunction(job, artifact.names, float(given.get("heartbeat") or _HEARTBEAT_SECONDS))


def _columns(artifact: Artifact, path: str) -> FeatureSpec:
    """Return the columns of rows to predict; lengths count only where arrays are padded to them."""
    found = artifact.state.meta.get("columns")
    if found is None or "outputs" not in artifact.state.meta:
        raise StateError(
            f"{path} does not say which columns the model takes\n"
            "Save the model again, with zoo.orca.mlflow.save_model"
        )
    columns = _features(FeatureSpec.from_json(found))
    padded = {column.name for column in columns.features if column.padding is not None}

    def freed(column: ColumnSpec) -> ColumnSpec:
        is_fixed = column.parts or column.name in padded or column.mask_of in padded
        return column if is_fixed else replace(column, shape=(None,) * len(column.shape))

    return replace(columns, features=tuple(map(freed, columns.features)))


def _inputs(artifact: Artifact) -> FeatureSpec | None:
    """Return what the model's transform makes of the columns, if it has one."""
    found = artifact.state.meta.get("inputs")
    if found is None or artifact.model.transform is None:
        return None
    return _features(FeatureSpec.from_json(found))


def _features(columns: FeatureSpec) -> FeatureSpec:
    return replace(columns, labels=(), label_keys=None)


def _threads() -> int:
    """Return the threads of Spark's task, if this is one, else one for each processor."""
    task = _task()
    return len(usable_processors()) if task is None else int(task.cpus())


def _task() -> Any:
    """Return the task of Spark's that this process runs, if it runs one."""
    pyspark = sys.modules.get("pyspark")
    return None if pyspark is None else pyspark.TaskContext.get()


class OrcaFunction:
    """Predicts frames of pandas, or dicts of arrays, by the names of the DataFrame's columns.

    Parameters
    ----------
    job : PredictJob
    names : sequence of str
        What the outputs are called.
    heartbeat : float
        Seconds of silence after which the process that predicts counts as frozen.
    """

    def __init__(self, job: PredictJob, names: Sequence[str], heartbeat: float) -> None:
        self._job, self._names, self._heartbeat = job, tuple(names), heartbeat
        self._lock = threading.Lock()  # a server's threads share one process
        self._child: _Started | None = None

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return the predictions as arrays whose first axis is the rows.

        Parameters
        ----------
        model_input : pandas.DataFrame or dict of array
        params : None
            Accepted as MLflow passes it; the model takes none.

        Returns
        -------
        array, or dict of str to array
            One output alone; several by their columns' names.

        Raises
        ------
        OrcaError
            As the estimator's `predict`.
        """
        batch = batch_of(model_input, self._job.columns)
        with self._lock:
            pieces = [self._asked(batch.slice(at, _ROWS)) for at in _starts(batch.num_rows)]
        whole = [
            _widened(joined(list(some), spec))
            for some, spec in zip(zip(*pieces, strict=True), self._job.outputs, strict=True)
        ]
        return whole[0] if len(whole) == 1 else dict(zip(self._names, whole, strict=True))

    def _asked(self, batch: pa.RecordBatch) -> list[NDArray[Any]]:
        started = self._child
        if started is None or started.process != os.getpid():
            started = self._child = _Started(self._job, self._heartbeat)
        try:
            return started.predict(batch)
        except BaseException:
            # The process may be dead, or hold half a message: the next call starts another.
            started.kill()
            self._child = None
            raise


class _Started:
    """A child with the model; once nobody refers to this, it ends, or serves Spark's next task."""

    def __init__(self, job: PredictJob, heartbeat: float) -> None:
        self.process, self._heartbeat = os.getpid(), heartbeat
        child = children.acquire(job.environment, threads_for(job, job.threads or 1))
        child.noise = job.noise
        self._child = child
        end = _ended if _task() is None else _released
        self._end = weakref.finalize(self, end, child, heartbeat, self.process)
        try:
            child.send(Predict(job=pickle.dumps(job)), heartbeat=heartbeat)
            self._wait(Ready)
        except BaseException:
            self.kill()
            raise

    def predict(self, batch: pa.RecordBatch) -> list[NDArray[Any]]:
        """Return the model's outputs for some rows."""
        self._child.send(Batches(stream=encode([batch])), heartbeat=self._heartbeat)
        return [_array(one) for one in read_outputs(self._wait(Predictions))]

    def kill(self) -> None:
        """End the child at once."""
        self._end.detach()
        self._child.kill()

    def _wait(self, kind: type[M]) -> M:
        found = self._child.wait(kind, Failure, heartbeat=self._heartbeat)
        if isinstance(found, Failure):
            raise _error(found, self._child)
        return found


def _released(child: Child, heartbeat: float, process: int) -> None:
    if process == os.getpid():  # a process that was forked meanwhile has a copy of this
        child.send(End(), heartbeat=heartbeat)
        children.release(child)


def _ended(child: Child, heartbeat: float, process: int) -> None:
    if process == os.getpid():
        child.stop()


def _error(failure: Failure, child: Child) -> OrcaError:
    lines = [f"  {line}" for line in child.last_words()]
    parts = [failure.message, failure.where]
    if lines:
        parts += ["The last lines it printed:", *lines]
    return error_class(failure.error)("\n".join(filter(None, parts)))


def _starts(rows: int) -> range:
    return range(0, max(rows, 1), _ROWS)


def _array(output: Output) -> NDArray[Any]:
    values = output.values
    if isinstance(values, np.ndarray):
        return values.reshape(output.shape)
    return np.array(values.to_pylist(), object).reshape(output.shape)


def _widened(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers without a sign, which Spark does not have, in the next larger type."""
    wider = _WIDENED.get(values.dtype.name)
    return values if wider is None else values.astype(wider)
