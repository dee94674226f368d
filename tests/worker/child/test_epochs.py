"""What each epoch adds to the history, on a worker: written down, told and asked about."""

from typing import Any

import numpy as np
import pytest

from zoo.orca.errors import WorkerError
from zoo.orca.wire.messages.pipe import RunJob
from zoo.orca.wire.messages.progress import Decided, EpochRecorded
from zoo.orca.worker.child import epochs
from zoo.orca.worker.child.epochs import Asking, EpochBook
from zoo.orca.worker.child.mailbox import Letters, Mailbox
from zoo.orca.worker.collective.protocol import Alone

JOB = RunJob(directory="", host="", rank=0, size=1, cpus=(), threads=1, job=b"")


def inbox(*messages: Any) -> Letters:
    """The letters of a job."""
    mailbox = Mailbox()
    for message in (JOB, *messages):
        mailbox.put(message)
    return mailbox.next_job()[1]


class Second(Alone):
    """The second of two ranks, which learns what the first has decided."""

    rank, size = 1, 2

    def all_reduce(self, array: Any) -> None:
        array += 1


def test_epochs_are_told_with_their_numbers_and_those_of_earlier_attempts_first() -> None:
    told: list[Any] = []
    book = EpochBook(Alone(), told.append, first=3, past=[{"loss": 4.0}])
    assert not book.ended({"loss": np.float64(5.0), "val_loss": 6.0})
    assert book.epochs == [{"loss": 4.0}, {"loss": 5.0, "val_loss": 6.0}]
    assert book.last == 5
    assert told == [EpochRecorded(epoch=4 + k, logs=logs) for k, logs in enumerate(book.epochs)]


def test_rank_0_asks_and_the_others_learn_the_answer() -> None:
    told: list[Any] = []
    mailbox = Mailbox()
    mailbox.put(JOB)

    def report(record: Any) -> None:
        told.append(record)
        mailbox.put(Decided(epoch=record.epoch, stop=record.epoch == 2))

    ask = Asking(report, mailbox.next_job()[1])
    book = EpochBook(Alone(), report, first=0, ask=ask)
    assert [book.ended({"loss": 1.0}), book.ended({"loss": 0.5})] == [False, True]
    assert [(one.epoch, one.asks) for one in told] == [(1, True), (2, True)]
    other: list[Any] = []
    assert EpochBook(Second(), other.append, first=0, ask=ask).ended({"loss": 1.0})
    assert other == []


def test_a_driver_that_is_known_not_to_answer_is_an_error_before_the_first_epoch() -> None:
    ask = Asking(print, inbox(Decided(epoch=0, problem="no line")))
    with pytest.raises(WorkerError, match="no line"):
        EpochBook(Alone(), print, first=0, ask=ask)


def test_a_driver_that_does_not_answer_is_an_error_after_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(epochs, "_DECIDES_WITHIN", 0.1)
    book = EpochBook(Alone(), print, first=0, ask=Asking(print, inbox()))
    with pytest.raises(WorkerError, match="stop has not answered within 0 s after epoch 1\nLet it"):
        book.ended({"loss": 1.0})
