"""Two Python workers' doors: a child goes from one to the other, and works, and dies, as before."""

import os
import pickle
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.worker.task.test_predict_task import WEIGHT, predict_job
from zoo.orca.errors import WorkerDiedError
from zoo.orca.wire.messages.neighbours import ChildWanted, NotGiven
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Predictions, Ready
from zoo.orca.worker.predictions import encode, read_outputs
from zoo.orca.worker.task import neighbours as module
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.handing import UNKNOWN, Adopted
from zoo.orca.worker.task.neighbours import Neighbours
from zoo.orca.worker.task.threads import Threads
from zoo.orca.worker.task.warm_children import WarmChildren

pytestmark = pytest.mark.timeout(60)

ENVIRONMENT = {"A": "1"}
ANY = ChildWanted(environment=ENVIRONMENT, fewest=0, most=None)


class Pair:
    """A process with one idle child, and what another asks with."""

    def __init__(self) -> None:
        alike = secrets.token_hex(6)
        self.child = Child(ENVIRONMENT, Threads(count=2, fewest=2, most=2))
        self.warm = WarmChildren()
        self.warm.release(self.child)
        self.door = Neighbours(alike, self.warm.give, self.warm.given)
        nothing = NotGiven(soon=False, changes=0)
        self.other = Neighbours(alike, lambda environment, threads: nothing, lambda: None)
        self.taken: list[Child] = []

    def ask(self, wanted: ChildWanted = ANY) -> Child | bool | None:
        """Return the child that the other process gets, or whether it soon would."""
        found = self.other.ask(wanted, self.taken.append)
        if isinstance(found, Child):
            return found
        return next((answer.soon for answer in found.values()), None)

    def taken_over(self) -> Child:
        """Return the child that the other process gets."""
        found = self.ask()
        assert isinstance(found, Child)
        return found


@pytest.fixture
def pair() -> Iterator[Pair]:
    found = Pair()
    yield found
    for child in (*found.taken, found.child):
        child.stop()


def predicts(child: Child) -> None:
    """Check that a child predicts, and that it is idle afterwards."""
    child.renew()
    child.send(Predict(job=pickle.dumps(predict_job())), heartbeat=20)
    child.wait(Ready, heartbeat=20)
    rows = pa.record_batch({"x": pa.array([1.0, 2.0], pa.float32())})
    child.send(Batches(stream=encode([rows])), heartbeat=20)
    (output,) = read_outputs(child.wait(Predictions, heartbeat=20))
    assert output.values.tolist() == [WEIGHT, 2 * WEIGHT]
    child.send(End(), heartbeat=20)


def test_a_child_works_for_the_one_that_takes_it_over(pair: Pair) -> None:
    predicts(pair.child)
    child = pair.taken_over()
    assert (child.pid, child.threads, child.alive) == (pair.child.pid, 2, True)
    predicts(child)
    assert pair.ask() is False


def test_it_goes_on_to_a_third_one_and_its_end_is_told_there(pair: Pair) -> None:
    second = pair.taken_over()
    pair.warm.release(pair.taken.pop())
    third = pair.taken_over()
    assert third is not second
    predicts(third)
    os.kill(third.pid, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        third.wait(Ready, heartbeat=20)
    assert not third.alive and third._process.poll() == -signal.SIGKILL


def test_its_beats_go_to_the_one_that_has_it(pair: Pair) -> None:
    child = pair.taken_over()
    predicts(child)  # whoever speaks to it hears of it
    seen = child._last_beat
    until = time.monotonic() + 10
    while child._last_beat == seen and time.monotonic() < until:
        time.sleep(0.05)
    assert child._last_beat > seen
    assert not any(thread.is_alive() for thread in pair.child._threads)


@pytest.mark.parametrize(
    "other",
    [
        ChildWanted(environment={"A": "2"}, fewest=0, most=None),
        ChildWanted(environment=ENVIRONMENT, fewest=3, most=None),
        ChildWanted(environment=ENVIRONMENT, fewest=1, most=1),
    ],
    ids=["environment", "too few threads", "too many threads"],
)
def test_another_child_is_not_given(pair: Pair, other: ChildWanted) -> None:
    assert pair.ask(other) is False
    assert isinstance(pair.ask(), Child)


def test_one_at_work_will_soon_be_there(pair: Pair) -> None:
    child = pair.warm.acquire(ENVIRONMENT, is_short=lambda: True)
    assert pair.ask() is True
    pair.warm.release(child)
    assert pair.warm.acquire(ENVIRONMENT) is child  # for a training, which may take hours
    assert pair.ask() is False


def test_a_frozen_child_is_killed_and_not_given(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.orca.worker.task.child_process._HAND_OVER_SECONDS", 0.2)
    os.kill(pair.child.pid, signal.SIGSTOP)
    assert pair.ask() is False
    assert not pair.child.alive


def test_a_process_of_another_user_gets_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: -1)
    assert pair.ask() is None
    assert pair.child.alive and not pair.taken


def test_who_says_nothing_or_rubbish_keeps_nobody_else_away(pair: Pair) -> None:
    (name,) = pair.other._others()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{name}")
        line.sendall(b"x" * 99)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{name}")
    assert isinstance(pair.ask(), Child)


def test_how_a_process_ended_is_unknown_once_its_parent_has_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        ours, theirs = socket.socketpair()
        ours.close()
        adopted: Any = Adopted(process.pid, theirs)
        assert adopted.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            adopted.wait(0.01)
        threading.Timer(0.1, process.kill).start()
        assert adopted.wait(20) == UNKNOWN
