"""The task of a prediction on Arrow batches and a real child: order, groups, faults. No JVM."""

import itertools
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest

from tests.fake_estimator import linear
from tests.worker.group import train_job
from zoo.orca.errors import DataError, OrcaError, WorkerDiedError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.messages.pipe import Batches, Predictions
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State
from zoo.orca.wire.predicting.column_forms import USUAL
from zoo.orca.worker.task import predict_task
from zoo.orca.worker.task import warm_children as children
from zoo.orca.worker.task.predict_task import ReadAhead, grouped, make_predict_task

pytestmark = pytest.mark.timeout(60)

WEIGHT = 3.0


@pytest.fixture(autouse=True)
def no_child_stays() -> Iterator[None]:
    yield
    children.stop_all()


def predict_job() -> PredictJob:
    """Predict 3 x with the framework in numpy."""
    state = State({"weights/w": np.array([WEIGHT])}, {"framework": "fake", "epoch": 0, "step": 0})
    spec = FeatureSpec(features=(ColumnSpec(name="x", dtype="float32"),))
    outputs = (OutputSpec(name="prediction", dtype="float32", row_shape=()),)
    model = train_job(linear()).model
    return PredictJob(model=model, columns=spec, state=state.to_bytes(), seed=0, outputs=outputs)


def batches(*sizes: int) -> Iterator[pa.RecordBatch]:
    """Batches of these numbers of rows; the column `id` counts on from one to the next."""
    start = 0
    for size in sizes:
        ids = np.arange(start, start + size)
        yield pa.record_batch({"id": ids, "x": ids.astype(np.float32)})
        start += size


def task(heartbeat: float = 20.0) -> Callable[[Iterator[pa.RecordBatch]], Any]:
    return make_predict_task(predict_job(), 1, [1], heartbeat, [USUAL])


def check(found: list[pa.RecordBatch], sizes: tuple[int, ...]) -> None:
    assert [batch.num_rows for batch in found] == list(sizes)
    assert found[0].schema.names == ["id", "p0"]
    table = pa.Table.from_batches(found)
    np.testing.assert_array_equal(table["id"].to_numpy(), np.arange(sum(sizes)))
    np.testing.assert_array_equal(table["p0"].to_numpy(), WEIGHT * np.arange(sum(sizes)))


@pytest.mark.parametrize(
    "sizes", [(1,), (5, 1), (7,) * 40, (0, 3, 0), (100_000, 3, 90_000), (10_000,) * 15]
)
def test_every_row_comes_back_in_order_in_its_batch(sizes: tuple[int, ...]) -> None:
    check(list(task()(batches(*sizes))), sizes)


def test_the_task_leaves_the_job_to_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cloudpickle.dumps(task())

    def refuse(*arguments: Any) -> Any:
        raise AssertionError("the task unpickled a job, and the model with it")

    monkeypatch.setattr(PredictJob, "__setstate__", refuse, raising=False)
    check(list(pickle.loads(made)(batches(5, 1))), (5, 1))


def test_no_batch_starts_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(environment: dict[str, str]) -> Any:
        raise AssertionError("a child was started")

    monkeypatch.setattr(children, "acquire", refuse)
    assert list(task()(iter(()))) == []


def test_the_next_rows_are_taken_and_sent_before_the_last_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    send, wait = children.Child.send, children.Child.wait

    def noted(kind: str, original: Any) -> Any:
        def method(self: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(arguments[0], Batches) or arguments[0] is Predictions:
                events.append(kind)
            return original(self, *arguments, **options)

        return method

    monkeypatch.setattr(children.Child, "send", noted("ask", send))
    monkeypatch.setattr(children.Child, "wait", noted("answer", wait))
    list(task()(batches(*[10] * 31)))
    # Groups of 1, 2, 4, 8 and 16 batches; the first is answered alone.
    assert events == ["ask", "answer", "ask", *["ask", "answer"] * 3, "answer"]


def test_the_first_batch_is_answered_before_another_is_taken() -> None:
    source = batches(*[10] * 9)
    predicted = task()(source)
    assert next(predicted).num_rows == 10
    predicted.close()
    assert len(list(source)) == 8
    # Nothing was under way: the child is the next task's.
    (warm,) = children._WARM._idle
    check(list(task()(batches(4))), (4,))
    assert children._WARM._idle == [warm]


@pytest.mark.parametrize("taken", range(1, 12))
def test_a_task_may_end_after_any_batch(taken: int) -> None:
    predicted = task()(batches(*[1000] * 12))
    found = list(itertools.islice(predicted, taken))
    predicted.close()
    check(found, (1000,) * taken)
    check(list(task()(batches(3, 4))), (3, 4))


@pytest.mark.parametrize(
    ("sizes", "short", "read"),
    [((), True, 0), ((5,) * 9, True, 9), ((100_000,) * 9, False, 3), ((1_000_000, 1), False, 1)],
)
def test_few_rows_are_a_short_task(sizes: tuple[int, ...], short: bool, read: int) -> None:
    source = batches(*sizes)
    ahead = ReadAhead(source)
    assert ahead.is_short() is short
    assert len(list(source)) == len(sizes) - read
    assert [batch.num_rows for batch in ahead] == list(sizes[:read])


def test_groups_grow_within_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes(source: Iterator[pa.RecordBatch]) -> list[list[int]]:
        return [[batch.num_rows for batch in group] for group in grouped(source)]

    assert sizes(batches(*[1] * 9)) == [[1], [1] * 2, [1] * 4, [1] * 2]
    assert sizes(batches(70_000, 1, 70_000, 1)) == [[70_000], [1], [70_000], [1]]
    assert [len(group) for group in sizes(batches(*[10_000] * 20))] == [1, 2, 4, 6, 6, 1]
    monkeypatch.setattr(predict_task, "_GROUP_BYTES", 300)  # 12 bytes a row
    assert sizes(batches(*[10] * 6)) == [[10], [10, 10], [10, 10], [10]]


def test_a_null_in_a_later_batch_is_the_named_error_within_seconds() -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from batches(*[1000] * 10)
        yield pa.record_batch({"id": [0, 1], "x": pa.array([1.0, None], pa.float32())})
        yield from batches(*[1000] * 10)

    started = time.monotonic()
    with pytest.raises(DataError, match="'x'"):
        list(task()(source()))
    assert time.monotonic() - started < 15
    assert not children._WARM._idle
    check(list(task()(batches(5))), (5,))


def test_an_error_of_the_source_is_its_own() -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from batches(*[10] * 5)
        raise KeyError("upstream")

    with pytest.raises(KeyError, match="upstream"):
        list(task()(source()))
    check(list(task()(batches(5))), (5,))


def test_a_child_that_is_killed_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[children.Child] = []
    acquire = children.acquire

    def noted(*arguments: Any) -> children.Child:
        started.append(acquire(*arguments))
        return started[-1]

    def source() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches(*[20_000] * 60)):
            if number == 20:
                os.kill(started[0].pid, signal.SIGKILL)
            yield batch

    monkeypatch.setattr(children, "acquire", noted)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        list(task()(source()))
    assert issubclass(WorkerDiedError, OrcaError)
    check(list(task()(batches(5))), (5,))
