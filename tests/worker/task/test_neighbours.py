"""Two Python workers' doors: a child goes from one to the other, and works, and dies, as before."""

import contextlib
import errno
import os
import pickle
import secrets
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from tests.worker.task.test_predict_task import WEIGHT, predict_job
from zoo.orca.errors import WorkerDiedError
from zoo.orca.wire.messages.neighbours import ChildWanted, Given, NotGiven
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Predictions, Ready
from zoo.orca.worker.predictions import encode, read_outputs
from zoo.orca.worker.task import neighbours as module
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.handing import UNKNOWN, Adopted, end_told_by
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
    found.warm.stop()
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


def test_a_frozen_child_is_killed_and_not_given(pair: Pair) -> None:
    pair.warm._hand_over_seconds = 0.2
    os.kill(pair.child.pid, signal.SIGSTOP)
    assert pair.ask() is False
    assert not pair.child.alive


def test_a_process_of_another_user_gets_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: -1)
    assert pair.ask() is None
    assert pair.child.alive and not pair.taken


@pytest.mark.parametrize(
    "rubbish",
    [b"x" * 99, struct.pack("<4sIQ", b"orm\x01", 0, 1 << 60), b"orm"],
    ids=["no message", "an endless one", "a part of one"],
)
def test_who_says_nothing_or_rubbish_keeps_nobody_else_away(pair: Pair, rubbish: bytes) -> None:
    (name,) = pair.other._others()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{name}")
        line.sendall(rubbish)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{name}")
    assert isinstance(pair.ask(), Child)


def test_who_is_silent_is_waited_for_shorter_than_another_waits(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUESTION_SECONDS", 0.1)
    (name,) = pair.other._others()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(f"\0{name}")
        assert isinstance(pair.ask(), Child)


def test_a_door_stays_open_when_files_are_short_for_a_moment(pair: Pair) -> None:
    errors = [errno.EMFILE, errno.ECONNABORTED, errno.EINVAL]

    class Door(contextlib.AbstractContextManager[None]):
        def accept(self) -> None:
            raise OSError(errors.pop(0), "of this test")

        def __exit__(self, *error: object) -> None:
            errors.append(-1)

    door: Any = Door()
    pair.door._serve(door)
    assert errors == [-1]  # and is closed with the thread


class Stranger:
    """A neighbour that answers as no neighbour should."""

    def __init__(self, pair: Pair, answer: Callable[[socket.socket], None]) -> None:
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(f"\0{pair.other._room}/0")  # is asked first
        self._door.listen()
        self._answer = answer
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._thread.join(20)
        self._door.close()

    def _run(self) -> None:
        line, _ = self._door.accept()
        with line, contextlib.suppress(OSError):
            line.recv(1 << 16)
            self._answer(line)


@pytest.mark.parametrize("arrive", [0, 2])
def test_one_that_ends_half_way_is_passed_over(pair: Pair, arrive: int) -> None:
    reads, writes = os.pipe()

    def ends(line: socket.socket) -> None:
        line.sendall(Given(process=os.getpid(), threads=1, temporary="").to_bytes())
        if arrive:
            socket.send_fds(line, [b"\0"], [writes] * arrive)
        os.close(writes)

    with Stranger(pair, ends), os.fdopen(reads, "rb") as pipe:
        predicts(pair.taken_over())
        assert select.select([pipe], [], [], 10)[0] and not pipe.read()  # nobody has its other end


def test_one_that_never_comes_to_an_end_is_waited_for_a_limited_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drips(line: socket.socket) -> None:
        line.sendall(struct.pack("<4sIQ", b"orm\x01", 1 << 20, 0))
        while True:
            line.sendall(b"x")
            time.sleep(0.02)

    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.3)
    with Stranger(pair, drips):
        began = time.monotonic()
        assert pair.ask() is None
    assert time.monotonic() - began < 5


def test_a_child_that_is_killed_on_its_way_leaves_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(environment: dict[str, str], threads: Threads) -> Any:
        handed = pair.warm.give(environment, threads)
        os.kill(pair.child.pid, signal.SIGKILL)
        time.sleep(0.1)
        return handed

    monkeypatch.setattr(pair.door, "_give", killed)
    assert pair.ask() is None
    assert not pair.taken
    assert not os.path.exists(pair.child._running.temporary)


def test_what_it_leaves_is_removed_if_whoever_has_it_is_killed_too(pair: Pair) -> None:
    child = pair.taken_over()
    os.kill(child.pid, signal.SIGKILL)  # nobody notices here
    until = time.monotonic() + 10
    while os.path.exists(child._running.temporary) and time.monotonic() < until:
        time.sleep(0.02)
    assert not os.path.exists(child._running.temporary)


def test_what_an_idle_child_leaves_that_is_killed_is_removed_at_once(pair: Pair) -> None:
    os.kill(pair.child.pid, signal.SIGKILL)
    for thread in pair.child._threads:
        thread.join(20)
    assert not os.path.exists(pair.child._running.temporary)


def test_a_child_that_ends_just_before_its_job_is_told_at_once(pair: Pair) -> None:
    child = pair.taken_over()
    os.kill(child.pid, signal.SIGKILL)
    for thread in child._threads:
        thread.join(20)
    child.renew()
    child.send(Predict(job=pickle.dumps(predict_job())), heartbeat=60)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        child.wait(Ready, heartbeat=60)


def test_many_hand_overs_leave_no_descriptor_and_no_thread(pair: Pair) -> None:
    counts = []
    for _ in range(20):
        child = pair.taken_over()
        pair.warm.release(pair.taken.pop())
        counts.append(len(os.listdir("/proc/self/fd")) + threading.active_count())
    assert counts[-1] < counts[2] + 10  # whatever else this process does meanwhile
    descriptors = [child._running.commands, child._process._told, child._process._handle]  # type: ignore[attr-defined]
    # A program that this process starts would keep the child from its end.
    assert not any(os.get_inheritable(one.fileno()) for one in descriptors)


def test_a_child_that_cannot_be_handed_over_does_not_stay_on_its_way(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(process: object, directory: str) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("zoo.orca.worker.task.child_process.end_told_by", refuse)
    assert pair.ask() is False
    assert not pair.child.alive


def test_all_threads_are_told_how_a_process_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        told, handle = end_told_by(process, "")
        adopted = Adopted(process.pid, socket.socket(fileno=told), handle)
        with ThreadPoolExecutor(4) as pool:
            codes = [pool.submit(adopted.wait, 20) for _ in range(4)]
            process.kill()
            assert {code.result(20) for code in codes} == {-signal.SIGKILL}


def test_how_a_process_ended_is_unknown_once_its_parent_has_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        ours, theirs = socket.socketpair()
        ours.close()
        adopted: Any = Adopted(process.pid, theirs, os.pidfd_open(process.pid))
        assert adopted.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            adopted.wait(0.01)
        threading.Timer(0.1, process.kill).start()
        assert adopted.wait(20) == UNKNOWN
