"""The task of a lazy prediction: sends a partition's batches to this Python worker's child.

Spark's batches are small, but a model is called best with many rows. So several batches go to the
child together. While the child computes, the task takes and sends the next ones, and Spark works on
the answered rows.
"""

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from zoo.orca.errors import OrcaError, error_class
from zoo.orca.wire.features import ColumnSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Predictions, Ready
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.predicting.column_forms import ColumnForm
from zoo.orca.worker.predictions import encode, read_outputs, split, to_arrow
from zoo.orca.worker.task import warm_children as children
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.devices import device_environment, gpu_addresses
from zoo.orca.worker.task.longer import Longer
from zoo.orca.worker.task.readers import forgive_gone_readers
from zoo.orca.worker.task.threads import Threads, threads_for

#: A group of batches is sent when it reaches this many rows or bytes, kept columns included.
_GROUP_ROWS = 1 << 16
_GROUP_BYTES = 16 << 20
#: Up to so many rows are predicted in much less time than a framework's import takes.
_SHORT_ROWS = 1 << 18
#: Groups that may be in progress when another one is sent.
_AHEAD = 1

Group = list[pa.RecordBatch]


def make_predict_task(
    job: PredictJob,
    kept: int,
    inputs: Sequence[int],
    heartbeat: float,
    forms: Sequence[ColumnForm],
    early: str = "",
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for `mapInArrow` that appends predictions.

    Parameters
    ----------
    job : PredictJob
    kept : int
        How many of the first columns of each batch are passed on.
    inputs : sequence of int
        The positions of the model's columns, in the job's order.
    heartbeat : float
        Seconds of silence after which the child counts as frozen.
    forms : sequence of ColumnForm
        What the column of each output holds.
    early : str
        The name of a door of the driver's (`zoo.orca.driver.early_child`), if there is one.
    """
    needs = _Needs(
        packed=pickle.dumps(job),
        environment=job.environment,
        threads=threads_for(job, job.threads or 1),
        noise=job.noise,
        gpus=job.gpus,
        columns=job.columns.columns,
        early=early,
    )

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        forgive_gone_readers()
        calls: _Calls | None = None
        source = ReadAhead(batches)
        try:
            for number, group in enumerate(grouped(source)):
                if calls is None:  # an empty partition starts nothing
                    child = _start(needs, heartbeat, source.is_short)
                    longer = Longer(needs.columns)
                    calls = _Calls(child, kept, inputs, heartbeat, longer, forms)
                calls.ask(group)
                # The first batch is answered before another is taken, because limit() often wants
                # no more.
                while calls.waiting > (_AHEAD if number else 0):
                    yield from calls.answer()
            while calls is not None and calls.waiting:
                yield from calls.answer()
        except OrcaError:
            # Otherwise Spark would print this file's frames above the error. The Python worker ends
            # with its error, so no other function's frames are hidden.
            os.environ["SPARK_HIDE_TRACEBACK"] = "1"
            raise
        finally:
            if calls is not None:
                calls.end()

    return task


def grouped(batches: Iterator[pa.RecordBatch]) -> Iterator[Group]:
    """Yield the batches in groups of one, two, four, ..., each within `_GROUP_ROWS` and bytes."""
    group: Group = []
    rows = size = 0
    most = 1
    for batch in batches:
        nbytes = batch.nbytes
        if group and (rows + batch.num_rows > _GROUP_ROWS or size + nbytes > _GROUP_BYTES):
            yield group
            group, rows, size = [], 0, 0
            most *= 2
        group.append(batch)
        rows, size = rows + batch.num_rows, size + nbytes
        if len(group) >= most:
            yield group
            group, rows, size = [], 0, 0
            most *= 2
    if group:
        yield group


class ReadAhead:
    """A task's batches, of which some may be read before their turn."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: deque[pa.RecordBatch] = deque()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        return self._held.popleft() if self._held else next(self._batches)

    def is_short(self) -> bool:
        """Whether there are few rows; reads all of them, or too many."""
        rows = size = 0
        for batch in self._batches:
            self._held.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > _SHORT_ROWS or size > _GROUP_BYTES:
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needs:
    """What the task itself needs of its job, whose model it passes on without a look."""

    columns: tuple[ColumnSpec, ...]

    packed: bytes
    environment: dict[str, str]
    threads: Threads
    noise: tuple[str, ...]
    gpus: int
    early: str


class _Calls:
    """The task's unanswered requests to its child, in order."""

    def __init__(
        self,
        child: Child,
        kept: int,
        inputs: Sequence[int],
        heartbeat: float,
        longer: Longer,
        forms: Sequence[ColumnForm],
    ) -> None:
        self._child, self._heartbeat, self._forms = child, heartbeat, forms
        self._longer = longer
        self._columns, self._inputs = list(range(kept)), list(inputs)
        self._kept: deque[Group] = deque()
        # False after an error: the child may be dead or hold half a message.
        self._clean = True

    @property
    def waiting(self) -> int:
        """The number of groups in progress."""
        return len(self._kept)

    def ask(self, group: Group) -> None:
        """Send the model's columns of a group; the others stay here."""
        self._clean = False
        chosen = [batch.select(self._inputs) for batch in group]
        self._longer.look_at(chosen)
        stream = encode(chosen)
        self._child.send(Batches(stream=stream), heartbeat=self._heartbeat)
        self._kept.append([batch.select(self._columns) for batch in group])
        self._clean = True

    def answer(self) -> Iterator[pa.RecordBatch]:
        """Wait for the oldest group and yield its batches, predictions appended."""
        self._clean = False
        answer = self._child.wait(Predictions, Failure, heartbeat=self._heartbeat)
        if isinstance(answer, Failure):
            raise _error(answer, self._child)
        group = self._kept.popleft()
        self._clean = True
        parts = split(read_outputs(answer), (batch.num_rows for batch in group))
        for batch, outputs in zip(group, parts, strict=True):
            names = [*batch.schema.names, *(f"p{index}" for index in range(len(outputs)))]
            made = map(to_arrow, outputs, self._forms)
            columns = [*batch.columns, *made]
            yield pa.RecordBatch.from_arrays(columns, names)

    def end(self) -> None:
        """Keep the child for the next task if it is as good as new.

        An action like limit() ends a task between two batches. Groups in progress are not awaited,
        because Spark ends the Python worker of such a task too.
        """
        if self._clean and not self._kept:
            self._child.send(End(), heartbeat=self._heartbeat)
            children.release(self._child)
        else:
            self._child.kill()


def _start(needs: _Needs, heartbeat: float, is_short: Callable[[], bool]) -> Child:
    environment = {**needs.environment, **_devices(needs.gpus)}
    child = children.acquire(environment, needs.threads, is_short, needs.early)
    child.noise = needs.noise
    try:
        child.send(Predict(job=needs.packed), heartbeat=heartbeat)
        ready = child.wait(Ready, Failure, heartbeat=heartbeat)
    except OrcaError:
        child.kill()
        raise
    if isinstance(ready, Failure):
        error = _error(ready, child)
        child.kill()
        raise error
    return child


def _devices(gpus: int) -> dict[str, str]:
    """Return the variables that show this task's GPUs to the child."""
    if not gpus:
        return {}
    # If Spark does not schedule GPUs, this Python worker keeps its choice: a warm child serves its
    # tasks.
    return device_environment(gpus, gpu_addresses(), os.getpid(), os.environ)


def _error(failure: Failure, child: Child) -> OrcaError:
    parts = [failure.message, failure.where, f"In process {child.pid} on {os.uname().nodename}"]
    lines = child.last_words()
    if lines:
        parts += ["The last lines it printed:", *(f"  {line}" for line in lines)]
    return error_class(failure.error)("\n".join(filter(None, parts)))
