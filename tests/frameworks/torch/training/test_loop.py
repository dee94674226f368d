"""What a `fit` goes through: statistics, state, schedules, callbacks, progress."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import (
    Data,
    job_of,
    plugin_of,
    predict_job,
    predicted,
    same_on_all,
    train,
)
from tests.frameworks.torch.test_equal import ADAM, MOMENTUM, Odd, close, columns
from tests.frameworks.torch_models import Embedded, Normalised, of
from zoo.orca.frameworks.torch.training.callbacks import (
    Callback,
    MainCallback,
    MaxstepsCallback,
)
from zoo.orca.wire.job import BuildJob
from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, StepTaken, Warned
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def decay(optimizer, config):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


def test_statistics_are_averaged(torch_ranks):
    data = Data.of(columns(100), (40, 60), features=("x",))
    ran = train(torch_ranks, of(Normalised), data, validation=data, epochs=2, **TORCH)
    same_on_all(ran)
    expected = np.zeros(4)
    plan = data.plan(20)
    for epoch in range(2):
        own = []
        for rank, shard in enumerate(data.shards):
            moved = expected.copy()
            for rows in itertools.islice(plan.steps(rank, 5 * epoch), 5):
                moved = 0.5 * moved + 0.5 * shard["x"][rows].mean(axis=0)
            own.append(moved * plan.counts[rank] / plan.rows)
        expected = np.sum(own, axis=0)
    found = ran[0].weights()["weights/norm.running_mean"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("counts", "steps"), [((50, 53), None), ((103,), 4)])
@pytest.mark.parametrize(
    ("model", "optimizer", "features"),
    [
        (Embedded, ADAM, ("x", "u")),
        (lambda: Embedded(True), {"kind": "Adagrad", "lr": 0.05}, ("x", "u")),
        (Dropping, {"kind": "RMSprop", "lr": 0.01, "arguments": {"momentum": 0.5}}, ("x",)),
        (Normalised, MOMENTUM, ("x",)),
    ],
)
def test_two_fits_equal_one(torch_ranks, counts, steps, model, optimizer, features):
    data = Data.of(columns(), counts, features=features)
    recipe = of(model, scheduler_creator=decay, **optimizer)
    common = {"steps_per_epoch": steps, **TORCH}
    whole = train(torch_ranks, recipe, data, epochs=4, **common)
    first = train(torch_ranks, recipe, data, epochs=2, **common)
    # As a file keeps it: nothing but tensors and JSON.
    state = first[0].trained.state
    state = State(state.tensors, json.loads(json.dumps(state.meta)))
    second = train(torch_ranks, recipe, data, epochs=2, initial_epoch=2, state=state, **common)
    same_on_all(second)
    for name, value in whole[0].trained.state.tensors.items():
        np.testing.assert_array_equal(second[0].trained.state.tensors[name], value, err_msg=name)
    assert second[0].trained.state.meta == whole[0].trained.state.meta
    joined = {
        name: first[0].trained.history[name] + values
        for name, values in second[0].trained.history.items()
    }
    assert joined == whole[0].trained.history


def test_dropout_differs_over_ranks_and_training_is_repeatable(torch_ranks):
    rows = columns(100)
    twice = {name: np.concatenate([value[:50], value[:50]]) for name, value in rows.items()}
    data = Data.of(twice, (50, 50), features=("x",))
    fields = {"framework": "torch", "shuffle": False}
    ran = [train(torch_ranks, of(Dropping), data, batch_size=100, **fields) for _ in "ab"]
    same_on_all(ran[0])
    for name, value in ran[0][0].weights().items():
        np.testing.assert_array_equal(ran[1][0].weights()[name], value)
    # The same rows on both ranks: with the same masks this would be the single rank's step.
    single = train(
        torch_ranks,
        of(Dropping),
        Data.of({n: v[:50] for n, v in twice.items()}, (50,), features=("x",)),
        batch_size=50,
        **fields,
    )
    assert single[0].trained.history != ran[0][0].trained.history


@pytest.mark.parametrize(("frequency", "steps"), [("batch", 12), ("epoch", 2)])
def test_schedules(torch_ranks, frequency, steps):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    recipe = of(Embedded, lr=0.1, scheduler_creator=decay, scheduler_step_freq=frequency)
    ran = train(torch_ranks, recipe, data, epochs=2, **TORCH)
    group = ran[0].trained.state.meta["optimizers"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(0.1 * 0.9**steps)


def test_plateau_sees_the_validation_of_all_workers(torch_ranks):
    def plateau(optimizer, config):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)

    data = Data.of(columns(), (90, 13), features=("x", "u"))
    recipe = of(Embedded, lr=0.1, scheduler_creator=plateau, scheduler_step_freq="epoch")
    ran = train(torch_ranks, recipe, data, validation=data, epochs=3, **TORCH)
    same_on_all(ran)
    group = ran[1].trained.state.meta["optimizers"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(0.1 * 0.1**3)


class StopsOnRank1(Callback):
    def after_train_epoch(self, runner):
        runner.stop = runner.rank == 1 and runner.epoch == 1


class StopsBefore(Callback):
    def before_train_epoch(self, runner):
        runner.stop = runner.rank == 1 and runner.epoch == 1


class StopsBeforeRun(Callback):
    def before_run(self, runner):
        runner.stop = runner.rank == 1


class StopsInAStep(MainCallback):
    def on_iter_forward(self, runner):
        super().on_iter_forward(runner)
        runner.stop = runner.rank == 1 and runner.global_step == 4


class Watches(Callback):
    """Keeps what it saw where the test can read it."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner):
        self.seen.append(runner.logs["loss"])

    def after_run(self, runner):
        runner.model.seen.copy_(torch.tensor(self.seen))


class Seen(Embedded):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("callback", "epochs", "steps"),
    # An epoch has six steps. Who stops before or in a step, stops after it.
    [(StopsOnRank1, 2, 12), (StopsBefore, 2, 7), (StopsBeforeRun, 1, 1), (StopsInAStep, 1, 5)],
)
def test_stopping_is_agreed_on(torch_ranks, callback, epochs, steps):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(torch_ranks, of(Embedded), data, epochs=5, callbacks=[callback()], **TORCH)
    same_on_all(ran)
    assert len(ran[0].trained.history["loss"]) == epochs
    meta = ran[0].trained.state.meta
    assert (meta["epoch"], meta["step"]) == (epochs, steps)


def test_steps_are_watched_and_counted(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    callbacks = [Watches(), MaxstepsCallback(3)]
    ran = train(torch_ranks, of(Seen), data, epochs=5, callbacks=callbacks, **TORCH)
    same_on_all(ran)
    meta = ran[0].trained.state.meta
    assert (meta["epoch"], meta["step"], meta["cursor"]["step"]) == (1, 3, 3)
    seen = ran[0].weights()["weights/seen"]
    assert seen[-1] == pytest.approx(ran[0].trained.history["loss"][0])


class OneMoreEpoch(Callback):
    """As the original's own callback does."""

    def before_run(self, runner):
        assert len(runner.train_loader) == 6
        if runner.rank == 1:  # it may know something that others do not
            runner.num_epochs = 3


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
@pytest.mark.parametrize(
    ("steps_per_epoch", "ends"), [(None, [6, 12, 14]), (4, [4, 8, 12, 14]), (20, [14])]
)
@pytest.mark.parametrize("how", ["argument", "callback"])
def test_so_many_steps_are_trained_whatever_epochs_says(
    torch_ranks, counts, steps_per_epoch, ends, how
):
    data = Data.of(columns(), counts, features=("x", "u"))
    common = {"steps_per_epoch": steps_per_epoch, "validation": data, **TORCH}
    given = {"options": {"last_step": 14}}
    if how == "callback":
        given = {"callbacks": [MaxstepsCallback(14)]}
    ran = train(torch_ranks, of(Embedded), data, epochs=1, **given, **common)
    same_on_all(ran)
    state, history = ran[0].trained.state, ran[0].trained.history
    assert (state.meta["step"], state.meta["epoch"]) == (14, len(ends))
    assert all(len(values) == len(ends) for values in history.values())
    done = [one for one in ran[0].progress if isinstance(one, EpochEnded)]
    assert [one.steps for one in done] == np.diff([0, *ends]).tolist()
    begun = [one for one in ran[0].progress if isinstance(one, EpochBegan)]
    assert [one.epochs for one in begun] == [len(ends)] * len(ends)
    # The weights are those of a run that was told its epochs.
    whole = {"options": {"last_step": 14}, "epochs": 9, **common}
    for name, value in train(torch_ranks, of(Embedded), data, **whole)[0].weights().items():
        np.testing.assert_array_equal(ran[0].weights()[name], value)


def test_steps_are_counted_by_calls(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    first = train(torch_ranks, of(Embedded), data, callbacks=[MaxstepsCallback(8)], **TORCH)
    state = first[0].trained.state
    again = train(
        torch_ranks, of(Embedded), data, callbacks=[MaxstepsCallback(8)], state=state, **TORCH
    )
    assert again[0].trained.state.meta["step"] == 16


def test_a_callback_may_choose_the_number_of_epochs(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(torch_ranks, of(Embedded), data, callbacks=[OneMoreEpoch()], **TORCH)
    same_on_all(ran)
    assert len(ran[0].trained.history["loss"]) == 3


def test_progress_and_profile(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(torch_ranks, of(Embedded), data, epochs=2, profile=True, **TORCH)
    assert ran[1].progress == []
    kinds = [type(p) for p in ran[0].progress if not isinstance(p, StepTaken)]
    assert kinds == [EpochBegan, EpochEnded] * 2
    end = ran[0].progress[-1]
    assert (end.steps, end.rows) == (6, 103)
    began = [p for p in ran[0].progress if isinstance(p, EpochBegan)]
    assert [(p.epoch, p.epochs, p.steps) for p in began] == [(0, 2, 6), (1, 2, 6)]
    history = ran[0].trained.history
    assert history.pop("num_samples") == [103, 103]
    assert end.logs == {n: v[-1] for n, v in history.items()}
    assert ran[0].timings.steps == 12
    assert all(ran[0].timings.parts[part] > 0 for part in ("feed", "compute", "exchange"))


def test_nan_loss_is_one_warning(torch_ranks):
    rows = columns()
    rows["y"][60] = np.nan
    data = Data.of(rows, (50, 53), features=("x", "u"))
    ran = train(torch_ranks, of(Embedded), data, epochs=3, **TORCH)
    warnings = [p for p in ran[0].progress if isinstance(p, Warned)]
    assert len(warnings) == 1 and "loss" in warnings[0].text and "epoch 1" in warnings[0].text


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.LazyLinear(5), nn.LazyLinear(1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x))).squeeze(-1)


def test_lazy_modules_are_built_and_predict(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x",))
    recipe = of(Lazy)
    ran = train(torch_ranks, recipe, data, epochs=1, **TORCH)
    same_on_all(ran)
    state = ran[0].trained.state
    job = predict_job(recipe, data.spec, state=state, framework="torch")
    rows = columns()

    def predict(most):
        from dataclasses import replace

        return predicted(replace(job, batch_size=most), {"x": rows["x"]})[0][0]

    whole = torch_ranks.alone(predict, None)
    assert whole.shape == (103,)
    np.testing.assert_allclose(torch_ranks.alone(predict, 10), whole, rtol=1e-5, atol=1e-6)


def test_build_returns_the_first_weights(torch_ranks):
    data = Data.of(columns(), (103,), features=("x", "flag"))
    job = job_of(BuildJob, of(Odd), data.spec, framework="torch")
    sample = data.shards[0]
    built = [torch_ranks.alone(lambda s: plugin_of(job).build(job, s), s) for s in (sample, None)]
    assert [(one.name, one.dtype, one.rank) for one in built[0].outputs] == [
        ("output_0", "float32", 1)
    ]
    for name, value in built[0].state.tensors.items():
        np.testing.assert_array_equal(built[1].state.tensors[name], value)


@pytest.mark.slow
def test_compiled_model(torch_ranks):
    import shutil

    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    data = Data.of(columns(100), (50, 50), features=("x", "u"))
    fields = {"framework": "torch", "batch_size": 50}
    compiled = train(torch_ranks, of(Embedded), data, options={"compile": True}, **fields)
    close(compiled[0].weights(), train(torch_ranks, of(Embedded), data, **fields)[0].weights())
