"""Messages go to the threads of their job, also where a job fails before they have come."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.pipe import Batches, Connect, End, Predict, RunJob, Start
from zoo.orca.wire.messages.rows import DataSet, Spooled
from zoo.orca.worker.child.mailbox import Mailbox

pytestmark = pytest.mark.timeout(30)


def job(name: str) -> RunJob:
    return RunJob(directory=name, host="h", rank=0, size=1, cpus=(), threads=1, job=b"")


CONNECT = Connect(addresses=(None,), timeout=1.0, secret=b"s")


class Taken:
    """What a thread got, or the error that it met."""

    def __init__(self, take: Callable[[], Any]) -> None:
        self.value: Any = None
        self._thread = threading.Thread(target=self._run, args=(take,), daemon=True)
        self._thread.start()

    def _run(self, take: Callable[[], Any]) -> None:
        try:
            self.value = take()
        except PeerLostError as error:
            self.value = error

    def end(self) -> Any:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.value


def test_messages_come_in_order_each_to_who_takes_its_kind(start: Start) -> None:
    box = Mailbox()
    for message in (job("a"), CONNECT, start):
        box.put(message)
    first, letters = box.next_job()
    assert isinstance(first, RunJob) and first.directory == "a"
    assert letters.take(Start) is start
    assert letters.take(Connect) is CONNECT
    box.put(Predict(job=b""))
    box.put(End())
    _, letters = box.next_job()
    assert isinstance(letters.take(Batches, End), End)


@pytest.mark.parametrize("late", [(), (0,), (1,), (0, 1)])
def test_a_thread_of_a_job_that_failed_takes_nothing_of_the_next(
    start: Start, late: tuple[int, ...]
) -> None:
    """Which of its messages still came does not matter."""
    box = Mailbox()
    for round in range(20):
        box.put(job(f"failed {round}"))
        _, failed = box.next_job()
        left_over = Taken(lambda failed=failed: failed.take(Connect))
        waiting = Taken(box.next_job)
        for place in late:
            box.put((CONNECT, start)[place])
        box.put(job(f"next {round}"))
        message, letters = waiting.end()
        assert message.directory == f"next {round}"
        meets = Taken(lambda letters=letters: letters.take(Connect))
        connect = Connect(addresses=(None,), timeout=float(round), secret=b"")
        box.put(connect)
        assert meets.end() is connect
        box.put(start)
        assert letters.take(Start) is start
        taken = left_over.end()
        assert isinstance(taken, PeerLostError) or (0 in late and taken is CONNECT)
        with pytest.raises(PeerLostError):
            failed.take(Start)


def test_the_end_of_a_job_is_its_own_also_where_the_next_one_is_there_already() -> None:
    """A task that predicts waits for no answer to its `End`."""
    box = Mailbox()
    box.put(Predict(job=b"first"))
    _, letters = box.next_job()
    box.put(End())
    box.put(Predict(job=b"second"))
    assert isinstance(letters.take(Batches, End), End)
    message, _ = box.next_job()
    assert message.job == b"second"


def test_the_next_job_ends_every_wait_of_the_one_before() -> None:
    box = Mailbox()
    box.put(job("a"))
    _, letters = box.next_job()
    waits = [Taken(lambda: letters.take(Connect)), Taken(lambda: letters.take(Start))]
    box.put(job("b"))
    assert all(isinstance(one.end(), PeerLostError) for one in waits)


@pytest.fixture
def start() -> Start:
    return Start(spooled=Spooled(train=DataSet(rows=0, file="")), moved=0.0)
