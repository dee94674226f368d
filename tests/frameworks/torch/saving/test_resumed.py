"""A saved training goes on where it fits; what does not begins anew, with a word."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from tests.frameworks.ranks import Data, Failed, same_on_all, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Embedded, of
from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.saving.files import checkpoint_of, read_checkpoint
from zoo.orca.frameworks.torch.saving.resumed import Resumed
from zoo.orca.wire.messages.progress import Warned
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
SGD = {"kind": "SGD", "lr": 0.05, "arguments": {"momentum": 0.9}}
ADAM = {"kind": "Adam", "lr": 0.01}
each_counts = pytest.mark.parametrize("counts", [(103,), (50, 53)])


def rows(counts=(50, 53)):
    return Data.of(columns(), counts, features=("x", "u"))


def fit(ranks, given, counts=(50, 53), **fields):
    ran = train(ranks, given, rows(counts), **fields, **TORCH)
    same_on_all(ran)
    return ran[0]


def told(ran):
    return [one.text for one in ran.progress if isinstance(one, Warned)]


def weights_alone(state):
    """As a bare state_dict that was loaded."""
    tensors = {name: value for name, value in state.tensors.items() if name.startswith("weights/")}
    return State(tensors, {"framework": "torch", "epoch": 1, "cursor": state.meta["cursor"]})


def as_file(state):
    """As `ModelCheckpoint` writes it; the place among the rows is not in a file."""
    buffer = io.BytesIO()
    torch.save(checkpoint_of(state), buffer)
    read = read_checkpoint(buffer.getvalue(), "x.pt")
    return replace(read, meta={**read.meta, "cursor": state.meta["cursor"]})


def as_old_file(state):
    """A checkpoint of the original's, which does not say what made it."""
    meta = {name: value for name, value in as_file(state).meta.items() if name != "made"}
    return State(state.tensors, meta)


FORMS = {"state": lambda state: state, "file": as_file, "old file": as_old_file}
each_form = pytest.mark.parametrize("form", FORMS)


@each_counts
@each_form
@pytest.mark.parametrize("pair", [(SGD, ADAM), (ADAM, SGD)])
def test_another_optimizer_begins_anew(torch_ranks, counts, pair, form):
    before, after = pair
    state = fit(torch_ranks, of(Embedded, **before), counts).trained.state
    ran = fit(torch_ranks, of(Embedded, **after), counts, state=FORMS[form](state), initial_epoch=1)
    (line,) = told(ran)
    assert line.startswith("the optimizer begins anew, with the weights of the state: it was saved")
    if form != "old file":
        assert f"with {before['kind']}, and this estimator has {after['kind']}" in line
    fresh = fit(
        torch_ranks, of(Embedded, **after), counts, state=weights_alone(state), initial_epoch=1
    )
    assert told(fresh) == []
    for name, value in fresh.trained.state.tensors.items():
        np.testing.assert_array_equal(ran.trained.state.tensors[name], value, err_msg=name)
    assert fresh.trained.history == ran.trained.history


def test_adam_is_not_adamw(torch_ranks):
    """Their states look the same, and one's settings make the other of it."""
    state = fit(torch_ranks, of(Embedded, **ADAM)).trained.state
    (line,) = told(fit(torch_ranks, of(Embedded, **{**ADAM, "kind": "AdamW"}), state=state))
    assert "saved with Adam, and this estimator has AdamW" in line


@each_form
def test_the_same_optimizer_goes_on_without_a_word(torch_ranks, form):
    given = of(Embedded, **ADAM)
    first = fit(torch_ranks, given)
    whole = fit(torch_ranks, given, epochs=2)
    state = FORMS[form](
        State(first.trained.state.tensors, json.loads(json.dumps(first.trained.state.meta)))
    )
    ran = fit(torch_ranks, given, state=state, initial_epoch=1)
    assert told(ran) == []
    for name, value in whole.trained.state.tensors.items():
        np.testing.assert_array_equal(ran.trained.state.tensors[name], value, err_msg=name)


def test_other_parameters_begin_anew(torch_ranks):
    """As many of the same shapes: momentum of one would move the other."""

    def some(*names):
        def optimizer(model, config):
            given = [dict(model.named_parameters())[name] for name in names]
            return torch.optim.SGD(given, lr=0.05, momentum=0.9)

        return optimizer

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x, u):
            return self.two(self.one(x)).sum(1)

    from zoo.orca.learn.pytorch.recipe import recipe

    def given(*names):
        return recipe(model=lambda config: Two(), optimizer=some(*names), loss=nn.MSELoss)

    state = fit(torch_ranks, given("one.weight")).trained.state
    (line,) = told(fit(torch_ranks, given("two.weight"), state=state))
    assert "its SGD had other parameters, such as 'one.weight'" in line
    assert told(fit(torch_ranks, given("one.weight"), state=state)) == []


def halves(optimizer, config):
    return lr_scheduler.ExponentialLR(optimizer, 0.5)


def one_cycle(optimizer, config):
    return lr_scheduler.OneCycleLR(optimizer, 0.2, 100)


def warm(optimizer, config):
    return lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.ConstantLR(optimizer), halves(optimizer, config)], [1]
    )


def group_of(ran):
    return ran.trained.state.meta["optimizers"][0]["param_groups"][0]


@pytest.mark.parametrize("form", ["state", "file", "old file"])
@pytest.mark.parametrize("after", [halves, one_cycle, warm])
@pytest.mark.parametrize("before", [None, halves, one_cycle])
def test_a_schedule_that_came_begins_anew_with_the_optimizers_moments(
    torch_ranks, before, after, form
):
    if before is after:
        pytest.skip("the same schedule goes on")
    freq = {"scheduler_step_freq": "epoch"}
    state = fit(torch_ranks, of(Embedded, scheduler_creator=before, **freq, **SGD)).trained.state
    ran = fit(
        torch_ranks,
        of(Embedded, scheduler_creator=after, **freq, **SGD),
        state=FORMS[form](state),
        initial_epoch=1,
    )
    (line,) = told(ran)
    assert line.startswith("the learning-rate schedule begins anew: the state was saved with")
    if form != "old file":
        names = {None: "none", halves: "ExponentialLR", one_cycle: "OneCycleLR"}
        names[warm] = "SequentialLR(ConstantLR, ExponentialLR)"
        assert line.endswith(f"with {names[before]}, and this estimator has {names[after]}")
    alone = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.05, momentum=0.9)
    schedule = after(alone, {})
    alone.step()
    schedule.step()
    assert group_of(ran)["lr"] == pytest.approx(alone.param_groups[0]["lr"])
    # Its moments went on: without them the step is another one.
    fresh = fit(
        torch_ranks,
        of(Embedded, scheduler_creator=after, **freq, **SGD),
        state=weights_alone(state),
        initial_epoch=1,
    )
    assert fresh.trained.history != ran.trained.history


def test_a_schedule_that_went_leaves_the_rate_as_it_was(torch_ranks):
    state = fit(torch_ranks, of(Embedded, scheduler_creator=halves, **SGD)).trained.state
    ran = fit(torch_ranks, of(Embedded, **SGD), state=state, initial_epoch=1)
    assert told(ran) == [
        "the learning rate stays what it was: the state was saved with ExponentialLR, and this "
        "estimator has none"
    ]
    assert group_of(ran)["lr"] == pytest.approx(0.025)


def test_another_learning_rate_is_named_not_taken(torch_ranks):
    state = fit(torch_ranks, of(Embedded, **SGD)).trained.state
    ran = fit(torch_ranks, of(Embedded, **{**SGD, "lr": 0.001}), state=state, initial_epoch=1)
    assert told(ran) == [
        "SGD goes on with the state's learning rate 0.05, not 0.001: load(path, optimizer=False) "
        "begins anew"
    ]
    assert group_of(ran)["lr"] == 0.05


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (
            {},
            {"kind": "Adam", "lr": 0.01, "arguments": None},
            "with SGD, and this estimator has Adam",
        ),
        ({}, {"scheduler_creator": halves}, "with none, and this estimator has ExponentialLR"),
        ({"scheduler_creator": halves}, {}, "with ExponentialLR, and this estimator has none"),
    ],
)
def test_insisting(torch_ranks, before, after, cause):
    given, other = of(Embedded, **{**SGD, **before}), of(Embedded, **{**SGD, **after})
    state = fit(torch_ranks, given).trained.state
    options = {"insist_on_optimizer": True}
    with pytest.raises(Failed) as caught:
        fit(torch_ranks, other, state=state, options=options)
    assert caught.value.kind is StateError
    first, second = caught.value.message.split("\n")
    assert cause in first and "load(path, optimizer=False)" in second
    assert told(fit(torch_ranks, given, state=state, options=options)) == []


def test_another_number_of_optimizers():
    state = State({}, {"optimizers": [{}, {}]})
    resumed = Resumed(state, {"optimizers": [], "schedulers": []}, False)
    resumed.give([], [], None)
    assert resumed.told[0].endswith("it was saved with 2 optimizers, and there are 0")
