"""Learning rates by each of PyTorch's schedules equal those of a hand-written loop."""

import functools

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

from tests.frameworks.ranks import Data, Failed, same_on_all, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Embedded, of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.frameworks.torch.training.schedules import Schedules, moment_of
from zoo.orca.wire.messages.progress import Warned

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
EPOCHS, STEPS, LR = 3, 6, 0.1


def warm_up(step):
    return min(1.0, (step + 1) / 4)


def sequential(optimizer):
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    return lr_scheduler.SequentialLR(optimizer, [warm, lr_scheduler.StepLR(optimizer, 2)], [2])


def chained(optimizer):
    inside = [lr_scheduler.ConstantLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.ChainedScheduler(inside, optimizer)


def nested(optimizer):
    return lr_scheduler.ChainedScheduler([sequential(optimizer), chained(optimizer)], optimizer)


def cycles(optimizer):
    warm = lr_scheduler.CyclicLR(optimizer, 0.01, 0.05, 3)
    return lr_scheduler.ChainedScheduler([warm, lr_scheduler.OneCycleLR(optimizer, 0.05, 100)])


#: Each with the moment at which it steps by itself.
SCHEDULES = {
    "LambdaLR": ("epoch", lambda o: lr_scheduler.LambdaLR(o, warm_up)),
    "MultiplicativeLR": ("epoch", lambda o: lr_scheduler.MultiplicativeLR(o, lambda n: 0.9)),
    "StepLR": ("epoch", lambda o: lr_scheduler.StepLR(o, 1)),
    "MultiStepLR": ("epoch", lambda o: lr_scheduler.MultiStepLR(o, [1, 5])),
    "ConstantLR": ("epoch", lambda o: lr_scheduler.ConstantLR(o, 0.5, 2)),
    "LinearLR": ("epoch", lambda o: lr_scheduler.LinearLR(o, 0.2, total_iters=4)),
    "ExponentialLR": ("epoch", lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "PolynomialLR": ("epoch", lambda o: lr_scheduler.PolynomialLR(o, 20)),
    "CosineAnnealingLR": ("epoch", lambda o: lr_scheduler.CosineAnnealingLR(o, 10)),
    "CosineAnnealingWarmRestarts": (
        "epoch",
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4),
    ),
    "CyclicLR": ("batch", lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.2, 4)),
    "OneCycleLR": ("batch", lambda o: lr_scheduler.OneCycleLR(o, 0.3, 100)),
    "SequentialLR": ("epoch", sequential),
    "ChainedScheduler": ("epoch", chained),
    "SWALR": ("epoch", lambda o: SWALR(o, 0.01, anneal_epochs=4)),
    "nested": ("epoch", nested),
    "cycles": ("batch", cycles),
}
PLATEAU = {"patience": 0, "threshold": 10.0}


def plateau(optimizer, config=None):
    return lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)


def test_none_of_pytorch_is_missing():
    here = {*SCHEDULES, "ReduceLROnPlateau", "LRScheduler"}
    assert set(lr_scheduler.__all__) <= here


def rows(counts=(103,)):
    return Data.of(columns(), counts, features=("x", "u"))


def group_of(ran):
    return ran.trained.state.meta["optimizers"][0]["param_groups"][0]


def by_hand(make, moment, epochs=EPOCHS):
    """What a plain loop ends with."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], LR, momentum=0.9)
    schedule = make(optimizer)
    for _ in range(epochs):
        for _ in range(STEPS):
            optimizer.step()
            if moment == "batch":
                schedule.step()
        if moment == "epoch":
            schedule.step()
    return optimizer.param_groups[0]


def recipe_with(make, **parts):
    given = {"lr": LR, "arguments": {"momentum": 0.9}, **parts}
    return of(Embedded, scheduler_creator=lambda optimizer, config: make(optimizer), **given)


@pytest.mark.parametrize("given", [None, "batch", "epoch"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_in_each_setting(torch_ranks, name, given):
    habit, make = SCHEDULES[name]
    given_recipe = recipe_with(make, scheduler_step_freq=given)
    (ran,) = train(torch_ranks, given_recipe, rows(), epochs=EPOCHS, **TORCH)
    expected = by_hand(make, given or habit)
    found = group_of(ran)
    assert found["lr"] == pytest.approx(expected["lr"], rel=1e-9)
    assert found["momentum"] == pytest.approx(expected["momentum"], rel=1e-9)
    told = [one.text for one in ran.progress if isinstance(one, Warned)]
    assert len(told) == (given is None)
    if given is None:
        assert f"after each {'update' if habit == 'batch' else 'epoch'};" in told[0]


def test_what_was_chosen_is_said_once(torch_ranks):
    first = train(torch_ranks, recipe_with(SCHEDULES["StepLR"][1]), rows((50, 53)), **TORCH)
    told = [one.text for ran in first for one in ran.progress if isinstance(one, Warned)]
    assert told == [
        "StepLR takes a step after each epoch; scheduler_step_freq='batch' lets it take one after "
        "each update"
    ]
    state = first[0].trained.state
    again = train(
        torch_ranks,
        recipe_with(SCHEDULES["StepLR"][1]),
        rows((50, 53)),
        state=state,
        initial_epoch=1,
        **TORCH,
    )
    assert not [one for ran in again for one in ran.progress if isinstance(one, Warned)]
    assert group_of(again[0])["lr"] == pytest.approx(LR * 0.1**2)


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("given", [None, "batch", "epoch"])
def test_plateau_looks_at_epochs_whatever_is_said(torch_ranks, given, validate):
    data = rows((50, 53))
    given_recipe = recipe_with(plateau, scheduler_step_freq=given)
    ran = train(
        torch_ranks, given_recipe, data, validation=data if validate else None, epochs=3, **TORCH
    )
    same_on_all(ran)
    history = ran[0].trained.history
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], LR)
    alone = plateau(optimizer)
    for value in history["val_loss" if validate else "loss"]:
        alone.step(value)
    assert group_of(ran[0])["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert group_of(ran[0])["lr"] < LR
    saved = ran[0].trained.state.meta["schedulers"][0]
    assert (saved["best"], saved["num_bad_epochs"]) == (alone.best, alone.num_bad_epochs)
    told = [one.text for one in ran[0].progress if isinstance(one, Warned)]
    assert len(told) == (given == "batch")


class Silent(TrainingOperator):
    def train_epoch(self, iterator, info):
        for batch in iterator:
            self.train_batch(batch, {})
        return {"train_seen": 1.0}


def highest(optimizer):
    return lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0)


class ByAccuracy(MainCallback):
    def on_lr_adjust(self, runner):
        runner.scheduler.step(runner.logs["loss"])


class Default(MainCallback):
    def on_lr_adjust(self, runner):
        super().on_lr_adjust(runner)


def refused(ranks, given, **fields):
    with pytest.raises(Failed) as caught:
        train(ranks, given, rows(), **fields, **TORCH)
    assert caught.value.kind is ModelError
    return caught.value.message


def test_plateau_without_anything_to_look_at_is_refused(torch_ranks):
    given = recipe_with(plateau, training_operator_cls=Silent)
    message = refused(torch_ranks, given)
    assert message.startswith("ReduceLROnPlateau needs val_loss") and "['seen']" in message
    ran = train(torch_ranks, given, rows(), validation=rows(), epochs=2, **TORCH)
    assert group_of(ran[0])["lr"] == pytest.approx(LR * 0.01)
    message = refused(torch_ranks, recipe_with(highest))
    assert "mode='max'" in message and "on_lr_adjust" in message
    (ran,) = train(
        torch_ranks, recipe_with(highest), rows(), epochs=2, callbacks=[ByAccuracy()], **TORCH
    )
    assert group_of(ran)["lr"] == pytest.approx(LR * 0.1)


@pytest.mark.parametrize(("given", "count"), [(None, 2), ("epoch", 2), ("batch", 2 * STEPS)])
@pytest.mark.parametrize("callback", [Default, MainCallback])
def test_main_callbacks_adjust_rates(torch_ranks, given, count, callback):
    """By themselves after each epoch, as in the original; or when the user says."""
    recipe = recipe_with(SCHEDULES["ExponentialLR"][1], scheduler_step_freq=given)
    (ran,) = train(torch_ranks, recipe, rows(), epochs=2, callbacks=[callback()], **TORCH)
    assert group_of(ran)["lr"] == pytest.approx(LR * 0.9**count)
    if callback is Default and given == "batch":
        recipe = recipe_with(plateau, scheduler_step_freq=given)
        assert "'epoch'" in refused(torch_ranks, recipe, callbacks=[callback()])


def test_several_schedules_step_each_at_its_own_moment(torch_ranks):
    def make(optimizer):
        return [
            lr_scheduler.ExponentialLR(optimizer, 0.5),
            lr_scheduler.CyclicLR(optimizer, 0.01, 0.2, 40),
        ]

    (ran,) = train(torch_ranks, recipe_with(make), rows(), epochs=2, **TORCH)
    saved = ran.trained.state.meta["schedulers"]
    assert [one["last_epoch"] for one in saved] == [2, 12]


def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], LR, momentum=0.9)


def test_what_differs_within_is_refused_with_the_words_to_write():
    made = optimizer()
    inside = [lr_scheduler.OneCycleLR(made, 0.3, 100), lr_scheduler.StepLR(made, 2)]
    mixed = lr_scheduler.SequentialLR(made, inside, [3])
    with pytest.raises(ModelError) as caught:
        moment_of(mixed)
    first, second = str(caught.value).split("\n")
    assert "OneCycleLR, which counts updates" in first and "StepLR, which counts epochs" in first
    assert "scheduler_step_freq='batch'" in second
    assert Schedules([mixed], "batch", False).is_due("batch")


def test_functions_of_transformers_count_updates():
    """As its `get_linear_schedule_with_warmup` and its like make them."""

    def ours(step, *, steps):
        return 1.0

    theirs = functools.partial(ours, steps=3)
    assert moment_of(lr_scheduler.LambdaLR(optimizer(), theirs)) == "epoch"
    ours.__module__ = "transformers.optimization"
    assert moment_of(lr_scheduler.LambdaLR(optimizer(), theirs)) == "batch"

    class Callable:
        def __call__(self, step):
            return 1.0

    assert moment_of(lr_scheduler.LambdaLR(optimizer(), Callable())) == "epoch"


class Own:
    """A schedule of the user's own making."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.5

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_schedules_of_the_users_own_count_epochs(torch_ranks):
    (ran,) = train(torch_ranks, recipe_with(Own), rows(), epochs=3, **TORCH)
    np.testing.assert_allclose(group_of(ran)["lr"], LR * 0.5**3)
