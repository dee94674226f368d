"""The epochs of a fit, told on the driver: once each, in order, in the thread that called fit."""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver import stage
from zoo.orca.driver.reports.epochs import EpochEnd, Epochs, listening
from zoo.orca.driver.reports.listener import ReportListener
from zoo.orca.errors import ContextError, WorkerError
from zoo.orca.wire.messages.line import FROM_DRIVER
from zoo.orca.wire.messages.progress import Decided, EpochRecorded

pytestmark = pytest.mark.timeout(90)


def record(epoch: int, asks: bool = False) -> EpochRecorded:
    return EpochRecorded(epoch=epoch, logs={"loss": 1 / epoch}, asks=asks)


def nobody(line: bytes) -> None:
    raise OSError("the worker is gone")


def hear(epochs: Epochs, *numbers: int, reply: Callable[[bytes], None] = nobody) -> None:
    for number in numbers:
        epochs.hear(record(number, asks=reply is not nobody), reply)
        epochs.wait(1)


def test_each_epoch_is_told_once_whatever_attempts_train_it_again() -> None:
    told: list[EpochEnd] = []
    epochs = Epochs([told.append], first=2)
    hear(epochs, 3, 4, 3, 4, 5)
    assert told == [EpochEnd(n, {"loss": 1 / n}) for n in (3, 4, 5)]


def test_what_was_not_heard_is_told_at_the_end_and_in_order() -> None:
    told: list[EpochEnd] = []
    epochs = Epochs([told.append])
    hear(epochs, 1, 3)
    assert [end.epoch for end in told] == [1]
    epochs.finish([{"loss": 1 / n} for n in (1, 2, 3, 4)])
    assert told == [EpochEnd(n, {"loss": 1 / n}) for n in (1, 2, 3, 4)]


def test_a_decision_holds_for_the_next_attempt() -> None:
    asked: list[int] = []
    answers: list[Any] = []

    def stop(end: EpochEnd) -> bool:
        asked.append(end.epoch)
        return end.epoch == 2

    epochs = Epochs(stop=stop)
    take = lambda line: answers.append(FROM_DRIVER.from_text(line))  # noqa: E731
    hear(epochs, 1, 2, 1, 2, reply=take)
    assert asked == [1, 2]
    assert answers == [Decided(epoch=n, stop=n == 2) for n in (1, 2, 1, 2)]


def test_nobody_hears_more_after_an_error_and_the_fits_own_error_comes_first() -> None:
    told: list[int] = []

    def listener(end: EpochEnd) -> None:
        told.append(end.epoch)
        raise ZeroDivisionError("no store")

    epochs = Epochs([listener])
    epochs.hear(record(1), nobody)
    epochs.hear(record(2), nobody)
    with pytest.raises(WorkerError, match="disk on fire") as caught, epochs.to_the_end():
        raise WorkerError("disk on fire")
    assert caught.value.__notes__ == [
        "a listener of epochs failed, too: ZeroDivisionError: no store"
    ]
    epochs.finish([{"loss": 1.0}, {"loss": 0.5}])
    assert told == [1]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """200 rows of one feature."""
    return spark.range(200).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()


def as_told(history: dict[str, list[float]], first: int = 0) -> list[EpochEnd]:
    """What a listener hears of a history in which every epoch has every value."""
    count = len(history["loss"])
    return [
        EpochEnd(first + k + 1, {name: values[k] for name, values in history.items()})
        for k in range(count)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_listener_hears_while_fit_runs_what_the_history_gets(
    rows: DataFrame, workers: int, tmp_path: Any
) -> None:
    told: list[tuple[EpochEnd, int, int]] = []
    steps = tmp_path / "steps"

    def on_step(rank: int, step: int) -> None:
        if rank == 0:
            with steps.open("a") as file:
                file.write(".")
            if step == 25:  # the second epoch waits until the first has been told
                deadline = time.monotonic() + 30
                while not (tmp_path / "heard").exists() and time.monotonic() < deadline:
                    time.sleep(0.01)

    def listener(end: EpochEnd) -> None:
        told.append((end, threading.get_ident(), len(steps.read_text())))
        (tmp_path / "heard").touch()

    estimator = FakeEstimator.of(linear(on_step=on_step), workers)
    with listening(listener):
        first = estimator.checked_fit(rows, epochs=2, validation=rows)
        second = estimator.checked_fit(rows, epochs=1, validation=rows)
    estimator.checked_fit(rows)  # nobody listens any more
    wanted = as_told(first.history) + as_told(second.history, 2)
    assert [end for end, _, _ in told] == wanted
    assert {thread for _, thread, _ in told} == {threading.get_ident()}
    assert told[0][2] <= 26  # steps that were done: not all of them
    assert "val_loss" in told[0][0].logs


def test_fits_beside_each_other_do_not_hear_each_other(rows: DataFrame) -> None:
    heard: dict[int, list[EpochEnd]] = {1: [], 2: []}
    histories: dict[int, Any] = {}

    def fit(number: int) -> None:
        estimator = FakeEstimator.of(linear(rate=0.1 * number), 1)
        with listening(heard[number].append):
            histories[number] = estimator.checked_fit(rows, epochs=3).history

    threads = [threading.Thread(target=fit, args=(number,)) for number in heard]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert heard[1] != heard[2]
    for number in heard:
        assert heard[number] == as_told(histories[number])


def test_an_error_of_a_listener_ends_the_fit_within_seconds(rows: DataFrame, tmp_path: Any) -> None:
    raised: list[float] = []

    def on_step(rank: int, step: int) -> None:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.02)

    def listener(end: EpochEnd) -> None:
        raised.append(time.monotonic())
        raise ZeroDivisionError("no store")

    estimator = FakeEstimator.of(linear(on_step=on_step), 2)
    with listening(listener), pytest.raises(ZeroDivisionError, match="no store"):
        estimator.checked_fit(rows, epochs=200)
    assert len(raised) == 1
    assert time.monotonic() - raised[0] < 10
    assert FakeEstimator.of(linear(), 2).fit(rows)["train_loss"] > 0


def test_the_epochs_before_a_failure_are_told(rows: DataFrame) -> None:
    told: list[int] = []

    def on_step(rank: int, step: int) -> None:
        if step == 60:
            raise OSError("disk on fire")

    estimator = FakeEstimator.of(linear(on_step=on_step), 1)
    with listening(lambda end: told.append(end.epoch)), pytest.raises(WorkerError, match="on fire"):
        estimator.checked_fit(rows, epochs=5)
    assert told == [1, 2]


def test_a_fit_that_is_resumed_tells_what_the_other_program_trained(
    rows: DataFrame, tmp_path: Any
) -> None:
    broken = tmp_path / "broken"
    broken.touch()

    def on_step(rank: int, step: int) -> None:
        if step == 60 and broken.exists():
            raise OSError("disk on fire")

    def fit(told: list[EpochEnd], **fields: Any) -> Any:
        made = FakeEstimator.of(linear(on_step=on_step), 2, model_dir=str(tmp_path / "models"))
        with listening(told.append):
            return made.checked_fit(rows, epochs=4, validation=rows, **fields)

    first: list[EpochEnd] = []
    with pytest.raises(WorkerError, match="on fire"):
        fit(first)
    broken.unlink()
    second: list[EpochEnd] = []
    stats = fit(second, resume=True)
    assert second == as_told(stats.history)
    assert first == second[:2]


def test_a_driver_that_workers_cannot_reach_is_told_at_the_end(
    rows: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[EpochEnd] = []
    monkeypatch.setattr(
        "zoo.orca.driver.reports.listener.ReportListener._listen", lambda self, *line: None
    )
    with listening(told.append):
        stats = FakeEstimator.of(linear(), 1).checked_fit(rows, epochs=2)
    assert told == as_told(stats.history)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fit_that_is_stopped_is_the_fit_of_so_many_epochs(rows: DataFrame, workers: int) -> None:
    asked: list[EpochEnd] = []

    def stop(end: EpochEnd) -> bool:
        asked.append(end)
        return end.epoch in (3, 5)

    stopped, other = FakeEstimator.of(linear(), workers), FakeEstimator.of(linear(), workers)
    for epochs in (3, 2):  # the second call counts on
        before = len(asked)
        stats = stopped.checked_fit(rows, epochs=9, validation=rows, stop=stop)
        wanted = other.checked_fit(rows, epochs=epochs, validation=rows)
        assert stats == wanted and stats.history == wanted.history
        assert asked[before:] == as_told(stats.history, before)
        assert stopped._state and other._state
        assert stopped._state.to_bytes() == other._state.to_bytes()


def test_an_error_of_stop_ends_the_fit_within_seconds(rows: DataFrame) -> None:
    began: list[float] = []

    def stop(end: EpochEnd) -> bool:
        began.append(time.monotonic())
        raise ZeroDivisionError("no store")

    with pytest.raises(ZeroDivisionError, match="no store"):
        FakeEstimator.of(linear(), 2).checked_fit(rows, epochs=9, stop=stop)
    assert len(began) == 1
    assert time.monotonic() - began[0] < 10


def test_a_driver_that_cannot_be_asked_is_an_error(
    rows: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit() -> None:
        FakeEstimator.of(linear(), 2).checked_fit(rows, epochs=9, stop=lambda end: False)

    class Elsewhere(ReportListener):
        """Says that it listens where nobody does."""

        def __enter__(self) -> ReportListener:
            assert self.report_to is not None
            with socket.create_server(("127.0.0.1", 0)) as closed:
                port = closed.getsockname()[1]
            self.report_to = replace(self.report_to, port=port)
            return super().__enter__()

    monkeypatch.setattr(stage, "ReportListener", Elsewhere)
    with pytest.raises(WorkerError, match=r"no line to the driver 127.0.0.1:\d+\nOpen this port"):
        fit()

    class Deaf(ReportListener):
        """Cannot listen."""

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.report_to = None

    monkeypatch.setattr(stage, "ReportListener", Deaf)
    with pytest.raises(ContextError, match="it cannot listen for the workers\nGive it a host name"):
        fit()
