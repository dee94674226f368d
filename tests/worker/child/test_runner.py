"""Children on prepared directories: jobs, failures, warmth, death. No JVM."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fake_estimator import linear
from tests.worker.group import Group, train_job
from zoo.orca.errors import WorkerDiedError, WorkerFrozenError
from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.messages.codec import MessageError
from zoo.orca.wire.messages.pipe import TO_CHILD, Batches, Listening, RunJob
from zoo.orca.wire.messages.progress import Decided, EpochRecorded
from zoo.orca.wire.messages.results import Failure, Outcome
from zoo.orca.wire.packing import State
from zoo.orca.worker.pipes import LimitedSender, receive
from zoo.orca.worker.task.barrier_task import TaskOptions, _ChildRendezvous
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.starting import child_environment, own_surroundings

pytestmark = pytest.mark.timeout(60)

ROWS = [list(np.linspace(0, 1, 40)), list(np.linspace(0, 1, 25))]


@pytest.fixture
def pair() -> Iterator[Group]:
    group = Group(2)
    yield group
    group.close()


def test_a_job_and_another_one_on_the_same_children(pair: Group, tmp_path: Path) -> None:
    first = pair.run(train_job(linear()), ROWS, tmp_path / "1")
    second = pair.run(train_job(linear()), ROWS, tmp_path / "2")
    assert [type(message) for message in first + second] == [Outcome] * 4
    assert first[0].history == first[1].history
    assert first[1].state == b""
    weights = [State.from_bytes(done.state).tensors["weights/w"] for done in (first[0], second[0])]
    np.testing.assert_array_equal(weights[0], weights[1])


def test_a_failure_reaches_everybody_and_the_children_serve_on(pair: Group, tmp_path: Path) -> None:
    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 3:
            raise OSError("disk on fire")

    failed = pair.run(train_job(linear(on_step=on_step)), ROWS, tmp_path / "1")
    assert [type(message) for message in failed] == [Failure, Failure]
    assert failed[0].error == "PeerLostError"
    assert failed[1].error == "WorkerError"
    assert "disk on fire" in failed[1].traceback
    done = pair.run(train_job(linear()), ROWS, tmp_path / "2")
    assert [type(message) for message in done] == [Outcome, Outcome]


@pytest.mark.parametrize(
    ("creator", "error", "words"),
    [
        (lambda config: None, "ModelError", "returned a NoneType"),
        (lambda config: config["missing"], "WorkerError", "KeyError"),
        (lambda config: __import__("no_such_module"), "MissingPackageError", "no_such_module"),
    ],
)
def test_a_creators_failure_is_told_before_rows_are_there(
    tmp_path: Path, creator: Any, error: str, words: str
) -> None:
    child = Child({})
    try:
        job = pickle.dumps(train_job(creator))
        where = {"directory": str(tmp_path), "host": "127.0.0.1"}
        child.send(RunJob(job=job, rank=0, size=1, cpus=(), threads=1, **where), heartbeat=30)
        failed = child.wait(Failure, heartbeat=30)
        assert failed.error == error
        assert words in failed.message
        # A module of the user's is no matter of the framework's package.
        assert "zoo-orca[" not in failed.message
    finally:
        child.stop()


def test_what_an_import_made_is_frozen_once(tmp_path: Path) -> None:
    """Of what jobs leave in a warm child, nothing may be kept from the garbage collector."""

    def creator(config: Any) -> Any:
        import gc

        config["leaves"] = [config]
        assert gc.isenabled()  # an import switches it off for a while
        raise OSError(f"frozen: {gc.get_freeze_count()}")

    child, told = Child({}), []
    try:
        for _ in range(3):
            job = pickle.dumps(train_job(creator))
            where = {"directory": str(tmp_path), "host": "127.0.0.1"}
            child.send(RunJob(job=job, rank=0, size=1, cpus=(), threads=1, **where), heartbeat=30)
            failed = child.wait(Failure, heartbeat=30)
            told.append(int(re.search(r"frozen: (\d+)", failed.message)[1]))
    finally:
        child.stop()
    assert told[0] > 1000
    assert told[0] >= max(told)


def test_failing_jobs_leave_nothing_open_in_the_children(pair: Group, tmp_path: Path) -> None:
    def creator(config: Any) -> Any:
        time.sleep(0.5)  # meanwhile the peers are met
        raise OSError("no such table")

    def run(number: int) -> list[int]:
        failed = pair.run(train_job(creator), ROWS, tmp_path / str(number))
        assert [type(message) for message in failed] == [Failure, Failure]
        return [len(os.listdir(f"/proc/{child.pid}/fd")) for child in pair.children]

    first = run(0)
    for number in range(1, 6):
        last = run(number)
    deadline = time.monotonic() + 10
    while last > first and time.monotonic() < deadline:  # what the last one has open for a moment
        time.sleep(0.05)
        last = [len(os.listdir(f"/proc/{child.pid}/fd")) for child in pair.children]
    assert last <= first


def test_a_killed_peer(pair: Group, tmp_path: Path) -> None:
    def on_step(rank: int, step: int) -> None:
        if rank == 0 and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    started = time.monotonic()
    words = pair.run(train_job(linear(on_step=on_step)), ROWS, tmp_path)
    assert words[0].error == "WorkerDiedError"
    assert "SIGKILL" in words[0].message
    assert words[1].error == "PeerLostError"
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("memory", [0, 160], ids=["all in memory", "ten rows in memory"])
def test_an_attempt_that_was_lost_is_gone_on_with(pair: Group, tmp_path: Path, memory: int) -> None:
    stop = tmp_path / "stop"

    def on_step(rank: int, step: int) -> None:
        if rank == 1 and step == 16 and stop.exists():  # in the third epoch
            raise OSError("executor lost")

    job = train_job(
        linear(on_step=on_step),
        epochs=5,
        run="fit-1",
        model_dir=str(tmp_path / "m"),
        data_memory=memory,
    )
    unbroken = pair.run(job, ROWS, tmp_path / "1")
    shutil.rmtree(tmp_path / "m")  # as the driver does
    stop.touch()
    broken = pair.run(job, ROWS, tmp_path / "2")
    assert [type(message) for message in broken] == [Failure, Failure]
    kept = sorted(path.name for path in (tmp_path / "m" / "fit-1").iterdir())
    assert kept == ["00000001-0000000000.state", "00000002-0000000000.state"]
    stop.unlink()
    resumed = pair.run(job, ROWS, tmp_path / "3")
    assert resumed[0].history == unbroken[0].history
    assert resumed[0].state == unbroken[0].state


@pytest.mark.parametrize("most", [0, 1], ids=["state in the rows", "state in a file"])
def test_an_attempt_that_is_lost_with_its_result_is_repeated(
    pair: Group, tmp_path: Path, most: int
) -> None:
    where = {"run": "fit-1", "model_dir": str(tmp_path / "m"), "max_state_bytes": most}
    job = train_job(linear(), epochs=4, **where)

    def run(number: int) -> tuple[Any, bytes]:
        outcome = pair.run(job, ROWS, tmp_path / str(number))[0]
        assert isinstance(outcome, Outcome)
        return outcome.history, Path(outcome.state_at).read_bytes() if most else outcome.state

    unbroken = run(1)
    kept = {path.name for path in (tmp_path / "m" / "fit-1").iterdir()}
    newest = {"00000002-0000000000.state", "00000003-0000000000.state"}
    assert kept - {"final.state"} == newest
    assert run(2) == unbroken


def test_an_attempt_that_is_lost_after_its_early_end_ends_there_again(
    pair: Group, tmp_path: Path
) -> None:
    """The last checkpoint says that training has ended; without it the last epoch is repeated."""

    def answer(progress: Any) -> None:
        if isinstance(progress, EpochRecorded) and progress.asks:
            decided = Decided(epoch=progress.epoch, stop=progress.epoch >= 2)
            pair.children[0].send(decided, heartbeat=30)

    pair.children[0].on_progress = answer
    job = train_job(linear(), epochs=5, run="fit-1", model_dir=str(tmp_path / "m"), asks=True)
    wanted = pair.run(train_job(linear(), epochs=2), ROWS, tmp_path / "0")[0]
    ended = tmp_path / "m" / "fit-1" / "00000002-0000000000.state"
    for number in ("1", "2", "3"):
        if number == "3":
            ended.unlink()
        outcome = pair.run(job, ROWS, tmp_path / number)[0]
        assert isinstance(outcome, Outcome)
        assert (outcome.history, outcome.state) == (wanted.history, wanted.state)
        assert outcome.epochs == [{"loss": loss} for loss in outcome.history["loss"]]
        kept = sorted(path.name for path in ended.parent.iterdir())
        assert kept == ["00000001-0000000000.state", ended.name]
        assert Checkpoint.from_bytes(ended.read_bytes(), "").outputs is not None


def test_a_child_dies_with_its_task_and_takes_the_rows_along(tmp_path: Path) -> None:
    spooled = tmp_path / "orca-rows"
    spooled.mkdir()
    (spooled / "train.0").write_bytes(b"x")
    program = f"""
import pickle, sys, time
from tests.fake_estimator import linear
from tests.worker.group import train_job
from zoo.orca.wire.messages.pipe import Listening, RunJob
from zoo.orca.worker.task.child_process import Child
child = Child({{}})
child.send(RunJob(directory={str(spooled)!r}, host="127.0.0.1", rank=0, size=1, cpus=(), threads=1,
                  job=pickle.dumps(train_job(linear()))), heartbeat=30)
child.wait(Listening, heartbeat=30)
print(child.pid, flush=True)
time.sleep(60)
"""
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    ) as task:
        assert task.stdout is not None
        pid = int(task.stdout.readline())
        task.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (_is_running(pid) or spooled.exists()):
        time.sleep(0.05)
    assert not _is_running(pid)
    assert not spooled.exists()


def test_threads_of_openmp_sleep_soon_unless_a_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert child_environment({}, own_surroundings())["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert child_environment({}, own_surroundings())["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in child_environment({}, own_surroundings())


def test_a_child_that_ends_in_silence_is_an_error(tmp_path: Path) -> None:
    ending = "import os; print('no licence', flush=True); os._exit(3)"
    (tmp_path / "sitecustomize.py").write_text(ending)  # Python runs it before anything else
    child = Child({"PYTHONPATH": str(tmp_path)})
    with pytest.raises(WorkerDiedError, match="exit code 3"):
        child.wait(Listening, heartbeat=30)
    assert "no licence" in child.log


def test_what_is_no_message_is_an_error_and_no_wait(tmp_path: Path) -> None:
    rubbish = "import os, sys; os.write(int(sys.orig_argv[-1]), b'printed here ' * 9)"
    (tmp_path / "sitecustomize.py").write_text(rubbish)
    child = Child({"PYTHONPATH": str(tmp_path)})
    try:
        with pytest.raises(MessageError, match="no message of zoo-orca: b'printed here"):
            child.wait(Listening, heartbeat=30)
    finally:
        child.kill()


def test_a_child_that_is_sent_what_is_no_message_says_so_and_ends() -> None:
    child = Child({})
    commands = child._sender._stream
    commands.write(b"x" * 99)
    commands.flush()
    with pytest.raises(WorkerDiedError, match="exit code 1"):
        child.wait(Listening, heartbeat=30)
    assert "MessageError: this is no message of zoo-orca" in "\n".join(child.log)


def test_a_child_that_reads_no_more_is_ended_by_what_it_was_to_read() -> None:
    child = Child({})
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(WorkerFrozenError, match="read nothing of what it was sent for 1 s"):
        child.send(Batches(stream=bytes(4 << 20)), heartbeat=1)
    assert not child.alive
    child.send(Batches(stream=bytes(4 << 20)), heartbeat=1)  # the next wait tells of the death
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        child.wait(Listening, heartbeat=30)


def test_a_reader_that_takes_its_time_gets_all() -> None:
    there, here = os.pipe()
    sender = LimitedSender(os.fdopen(here, "wb"))
    sent = Batches(stream=os.urandom(3 << 19))
    got: list[Any] = []

    class Slow:
        """Takes longer than the limit in all, and less between two reads."""

        def read(self, count: int) -> bytes:
            found = b""
            while len(found) < count and (
                piece := os.read(there, min(count - len(found), 1 << 18))
            ):
                time.sleep(0.2)
                found += piece
            return found

    reader = threading.Thread(target=lambda: got.append(receive(Slow(), TO_CHILD)))  # type: ignore[arg-type]
    reader.start()
    sender.send(sent, 0.7)
    sender.close()
    reader.join(20)
    os.close(there)
    assert [message.to_bytes() for message in got] == [sent.to_bytes()]
    with pytest.raises(OSError, match="closed"):
        sender.send(sent, 0.7)


def test_a_child_that_cannot_be_told_of_its_peers_is_an_error_and_no_wait() -> None:
    class Frozen:
        def wait(self, *kinds: Any, heartbeat: float) -> Listening:
            return Listening(address=("a", 1))

        def send(self, message: Any, *, heartbeat: float) -> None:
            raise WorkerFrozenError("it read nothing")

    class Driver:
        """In the place of a rendezvous whose answer comes by another thread."""

        limit = 5.0

        def meet(self, address: Any, tell: Any) -> None:
            teller = threading.Thread(target=tell, args=([address, ("b", 2)],))
            teller.start()
            teller.join()

    introduced = _ChildRendezvous(Driver(), Frozen(), TaskOptions(secret=b""))  # type: ignore[arg-type]
    with pytest.raises(WorkerFrozenError, match="it read nothing"):
        introduced.end()
    introduced.close()


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
