"""What a `fit` writes while it runs, and going on from it."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.frameworks.ranks import Data, Failed, job_of, plugin_of, same_on_all, train
from tests.frameworks.torch.test_equal import ADAM, columns
from tests.frameworks.torch_models import Embedded, of
from zoo.orca.frameworks.torch.saving.files import read_checkpoint
from zoo.orca.frameworks.torch.training.callbacks import (
    Callback,
    MaxstepsCallback,
    ModelCheckpoint,
    TensorBoardCallback,
)
from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import Checkpoints
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.plugin import World

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
COUNTS = (50, 53)
STEPS = 6


def rows_of(counts=COUNTS):
    return Data.of(columns(), counts, features=("x", "u"))


def decay(optimizer, config):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


class Breaks(Callback):
    """Fails in the middle of the third epoch, on rank 1, while the file is there."""

    def __init__(self, path):
        self.path = path

    def after_train_iter(self, runner):
        if runner.rank == 1 and runner.global_step == 2 * STEPS + 3 and self.path.exists():
            raise OSError("executor lost")


def attempt(ranks, job, data):
    """What `fit` does on each rank, as a stage's attempt: history and state, or a `Failed`."""

    def of_rank(rank):
        rows = data.rows(rank, 20)

        def run(collective):
            resumable = Resumable(job, World(collective=collective, report=lambda progress: None))
            plugin = plugin_of(resumable.job)
            plugin.prepare(resumable.job, 1)
            trained = plugin.train(resumable.job, rows, None, resumable.world)
            blob, _ = resumable.finish(trained)
            return resumable.whole(trained.history), blob

        return run

    return ranks.try_run([of_rank(rank) for rank in range(len(data.shards))])


def test_a_fit_that_was_lost_goes_on_from_its_checkpoint(torch_ranks, tmp_path):
    stop, data = tmp_path / "stop", rows_of()
    job = job_of(
        TrainJob,
        of(Embedded, scheduler_creator=decay, **ADAM),
        data.spec,
        epochs=4,
        callbacks=[Breaks(stop)],
        run="fit-1",
        model_dir=str(tmp_path / "m"),
        **TORCH,
    )
    unbroken = attempt(torch_ranks, job, data)
    shutil.rmtree(tmp_path / "m")  # as the driver does
    stop.touch()
    broken = attempt(torch_ranks, job, data)
    assert all(isinstance(answer, Failed) for answer in broken)
    assert "executor lost" in broken[1].message
    kept = sorted(path.name for path in (tmp_path / "m" / "fit-1").iterdir())
    assert kept == ["00000001-0000000000.state", "00000002-0000000000.state"]
    stop.unlink()
    resumed = attempt(torch_ranks, job, data)
    assert len(resumed[0][0]["loss"]) == 4
    assert resumed == unbroken


class FourEpochs(Callback):
    """Has its own mind of the length of a fit."""

    def before_run(self, runner):
        runner.num_epochs = 4


@pytest.mark.parametrize("how", ["argument", "callback", "epochs"])
def test_steps_of_a_lost_fit_are_counted_with_those_before(torch_ranks, tmp_path, how):
    stop, data = tmp_path / "stop", rows_of()
    more, epochs, last_step = {
        "argument": ([], 20, 20),
        "callback": ([MaxstepsCallback(20)], 1, None),
        "epochs": ([FourEpochs()], 20, None),
    }[how]
    options = {"first_step": 0, "last_step": last_step}
    job = job_of(
        TrainJob,
        of(Embedded, **ADAM),
        data.spec,
        epochs=epochs,
        callbacks=[Breaks(stop), *more],
        run="fit-2",
        model_dir=str(tmp_path / "m"),
        options=options,
        **TORCH,
    )
    unbroken = attempt(torch_ranks, job, data)
    shutil.rmtree(tmp_path / "m")  # as the driver does
    stop.touch()
    assert all(isinstance(answer, Failed) for answer in attempt(torch_ranks, job, data))
    assert (tmp_path / "m" / "fit-2" / "00000002-0000000000.state").exists()
    stop.unlink()
    resumed = attempt(torch_ranks, job, data)
    assert len(resumed[0][0]["loss"]) == 4
    assert resumed == unbroken


def test_a_fit_that_was_lost_after_its_last_step_keeps_its_history(torch_ranks, tmp_path):
    data = rows_of()
    job = job_of(
        TrainJob,
        of(Embedded, **ADAM),
        data.spec,
        epochs=12,
        run="fit-3",
        model_dir=str(tmp_path / "m"),
        options={"first_step": 0, "last_step": 12},
        **TORCH,
    )
    done = attempt(torch_ranks, job, data)
    state = State.from_bytes(done[0][1])
    kept = Checkpoints(job.checkpoints)
    kept.save(Checkpoint(state=state, history=done[0][0]))
    kept.finish()
    assert attempt(torch_ranks, job, data) == done


@pytest.mark.parametrize("counts", [(103,), COUNTS])
@pytest.mark.parametrize("weights_only", [True, False])
def test_model_checkpoint_by_epoch(torch_ranks, tmp_path, counts, weights_only):
    data, given = rows_of(counts), of(Embedded, scheduler_creator=decay, **ADAM)
    path = str(tmp_path / "e{epoch}-s{step}.pt")
    writes = ModelCheckpoint(path, save_weights_only=weights_only, interval=2)
    ran = train(torch_ranks, given, data, epochs=4, callbacks=[writes], **TORCH)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["e2-s12.pt", "e4-s24.pt"]
    last = tmp_path / "e4-s24.pt"
    saved = torch.load(last, weights_only=True)
    weights = saved if weights_only else saved["models"][0]
    for name, value in ran[0].weights().items():
        np.testing.assert_array_equal(weights[name.removeprefix("weights/")], value)
    assert weights_only or (saved["epoch"], saved["step"]) == (4, 24)
    if weights_only:
        return
    # Training goes on from the file as from the state; the place among the rows is not in files.
    fields = {"epochs": 1, "initial_epoch": 4, **TORCH}
    loaded = read_checkpoint(last.read_bytes(), str(last))
    loaded = replace(loaded, meta={**loaded.meta, "cursor": ran[0].trained.state.meta["cursor"]})
    from_file = train(torch_ranks, given, data, state=loaded, **fields)
    same_on_all(from_file)
    from_state = train(torch_ranks, given, data, state=ran[0].trained.state, **fields)
    for name, value in from_state[0].trained.state.tensors.items():
        np.testing.assert_array_equal(from_file[0].trained.state.tensors[name], value)


def test_model_checkpoint_by_step(torch_ranks, tmp_path):
    data, given = rows_of(), of(Embedded, **ADAM)
    path = str(tmp_path / "{step}.pt")
    writes = ModelCheckpoint(path, save_weights_only=True, by_epoch=False, interval=5)
    train(torch_ranks, given, data, epochs=2, callbacks=[writes], **TORCH)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["10.pt", "5.pt"]
    for steps in (5, 10):
        short = train(torch_ranks, given, data, epochs=2, options={"last_step": steps}, **TORCH)
        saved = torch.load(tmp_path / f"{steps}.pt", weights_only=True)
        for name, value in short[0].weights().items():
            np.testing.assert_array_equal(saved[name.removeprefix("weights/")], value)


@pytest.mark.parametrize(
    ("freq", "at"), [("epoch", [1, 2]), ("batch", list(range(1, 13))), (4, [4, 8, 12])]
)
def test_tensorboard(torch_ranks, tmp_path, freq, at):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data = rows_of()
    board = TensorBoardCallback(str(tmp_path), freq)
    ran = train(
        torch_ranks, of(Embedded), data, validation=data, epochs=2, callbacks=[board], **TORCH
    )
    assert len(list(tmp_path.iterdir())) == 1  # of rank 0 alone
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = events.Scalars("loss")
    assert [event.step for event in losses] == at
    history = ran[0].trained.history
    if freq == "epoch":
        assert set(events.Tags()["scalars"]) == set(history) - {"num_samples"}
        assert [event.value for event in losses] == pytest.approx(history["loss"], rel=1e-6)
    else:  # the epoch's loss so far
        assert losses[-1].value == pytest.approx(history["loss"][-1], rel=1e-6)
