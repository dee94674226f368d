"""A fit that goes on: from which checkpoint, which ones it writes, and its end."""

import time
from typing import Any

import numpy as np
import pytest

from tests.fake_estimator import linear
from tests.frameworks.ranks import Data
from tests.worker.group import train_job
from zoo.orca.errors import StateError
from zoo.orca.frameworks.fake import FakeFramework
from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.packing import State
from zoo.orca.worker.child import checkpoint
from zoo.orca.worker.child.checkpoint import Checkpoints
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.collective.protocol import Alone
from zoo.orca.worker.plugin import Trained, World

FAKE = {"framework": "fake", "epoch": 0, "step": 0}
STATE = State({"weights/w": np.arange(3.0)}, {"epoch": 2})


class Ranks:
    """A collective of two ranks, which nobody calls."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank


@pytest.mark.parametrize(("rank", "wanted"), [(0, STATE.to_bytes()), (1, b"")])
def test_the_state_is_taken_on_rank_0_alone(rank: int, wanted: bytes) -> None:
    taken = []

    def take() -> State:
        taken.append(rank)
        return STATE

    collective: Any = Ranks(rank)
    world = World(collective=collective, report=lambda progress: None)
    trained = Trained(history={}, state=take, outputs=())
    assert Resumable(train_job(linear()), world).finish(trained) == (wanted, "")
    assert taken == [0][rank:]


def resumed(directory, told, **fields):
    world = World(collective=Alone(), report=told.append)
    job = train_job(linear(), epochs=9, model_dir=str(directory), run="fit", **fields)
    return Resumable(job, world)


def test_a_damaged_checkpoint_leaves_the_one_before(tmp_path):
    told: list[Any] = []
    kept = Checkpoints(f"{tmp_path}/fit")
    for epoch in (1, 2, 3):
        state = State({"weights/w": np.full(3, epoch)}, {**FAKE, "epoch": epoch})
        kept.save(Checkpoint(state=state, history={"loss": [0.5] * epoch}))
    kept.finish()
    newest, older = (tmp_path / "fit" / f"0000000{n}-0000000000.state" for n in (3, 2))
    assert resumed(tmp_path, told).job.initial_epoch == 3 and not told
    newest.write_bytes(newest.read_bytes()[:-5])
    assert resumed(tmp_path, told).job.initial_epoch == 2
    (warned,) = told
    assert warned.text.startswith(f"{newest} is damaged: ")
    assert warned.text.endswith(f"; going on from {older}")
    older.write_bytes(b"")
    with pytest.raises(StateError, match=f"^{older} is damaged"):
        resumed(tmp_path, told)


@pytest.mark.parametrize(("every", "group", "wanted"), [(3, 1, [3, 6, 9]), (6, 4, [8, 12, 20])])
def test_checkpoints_of_updates_of_several_steps(tmp_path, every, group, wanted):
    saver = resumed(tmp_path, [], checkpoint_steps=every).world.saver
    ends = range(group, 11 if group == 1 else 23, group)
    for _ in range(2):  # epochs
        assert [steps for steps in ends if saver.is_due(steps)] == wanted


def test_a_failed_training_ends_when_nothing_is_written_any_more(tmp_path, monkeypatch):
    written = []

    def slowly(path, data):
        time.sleep(0.3)
        written.append(path)

    monkeypatch.setattr(checkpoint, "write_bytes", slowly)
    fit = resumed(tmp_path, [])
    with pytest.raises(ZeroDivisionError), fit.training():
        fit.world.saver.save(lambda: State({}, {**FAKE, "epoch": 1}), {})
        raise ZeroDivisionError
    assert len(written) == 1


class Ends:
    """A driver that ends a training after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def check(self) -> None:
        """It answers."""

    def __call__(self, record: Any) -> bool:
        return record.epoch >= self.epochs


def attempt(directory, ends):
    """Train with the framework in numpy; return the result and the epochs."""
    numbers = np.arange(20, dtype=np.float32)
    data = Data.of({"x": numbers / 20, "y": 3 * numbers}, [20], features=("x",))
    job = train_job(linear(), epochs=9, model_dir=str(directory), run="fit")
    fit = Resumable(job, World(collective=Alone(), report=lambda progress: None), ends)
    trained = fit.train(FakeFramework(), data.rows(0, job.batch_size), None)
    return fit.finish(trained), fit.whole(trained.history), fit.epochs


def test_what_the_driver_has_ended_stays_ended(tmp_path):
    """An attempt may be lost with its result; and the next driver may be of another mind."""
    ended = attempt(tmp_path, Ends(3))
    assert len(ended[2]) == 3
    newest = tmp_path / "fit" / "00000003-0000000000.state"
    for ends in (Ends(3), Ends(5), None):
        assert attempt(tmp_path, ends) == ended
    newest.unlink()
    assert attempt(tmp_path, Ends(3)) == ended
    newest.unlink()
    assert len(attempt(tmp_path, None)[2]) == 9
