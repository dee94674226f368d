"""What training changes and goes on with: kept from call to call, and in a file."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import Data, same_on_all, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch.training.test_schedules import SCHEDULES, plateau
from tests.frameworks.torch_models import Embedded, of
from zoo.orca.driver.storage import load_state, save_state
from zoo.orca.frameworks.torch.training.callbacks import Callback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.wire.messages.progress import Warned

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}


def check(ranks, tmp_path, given, *, features=("x", "u"), counts=(50, 53), make=None, **fields):
    """Four epochs at once, and two and two with a file in between, are the same."""

    def fit(epochs, first=0, state=None):
        ran = train(
            ranks,
            given,
            data,
            epochs=epochs,
            initial_epoch=first,
            state=state,
            callbacks=make() if make else None,
            **fields,
            **TORCH,
        )
        same_on_all(ran)
        return ran[0]

    data = Data.of(columns(), counts, features=features)
    whole, path = fit(4), str(tmp_path / "state")
    save_state(fit(2).trained.state, path)
    second = fit(2, 2, load_state(path))
    assert second.trained.state.meta == whole.trained.state.meta
    for name, value in whole.trained.state.tensors.items():
        np.testing.assert_array_equal(second.trained.state.tensors[name], value, err_msg=name)
    assert list(second.trained.state.tensors) == list(whole.trained.state.tensors)
    assert not [one for one in second.progress if isinstance(one, Warned)]
    for name, values in second.trained.history.items():
        assert values == whole.trained.history[name][2:]
    return whole.trained.state


def patient(optimizer):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, threshold=0.3)


KEPT = {name: make for name, (_, make) in SCHEDULES.items()}
KEPT |= {"ReduceLROnPlateau": plateau, "patient": patient}


@pytest.mark.parametrize("name", KEPT)
def test_schedules(torch_ranks, tmp_path, name):
    make = KEPT[name]
    given = of(
        Embedded,
        lr=0.1,
        arguments={"momentum": 0.9},
        scheduler_creator=lambda optimizer, config: make(optimizer),
    )
    check(torch_ranks, tmp_path, given)


def test_a_plateau_that_has_seen_nothing(tmp_path):
    """Its best value is infinite, which JSON does not know."""
    from zoo.orca.frameworks.torch.saving.state import read_state
    from zoo.orca.wire.packing import State

    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    state = read_state(
        nn.Linear(1, 1),
        {"epoch": 0, "step": 0},
        optimizers=[optimizer],
        schedulers=[plateau(optimizer)],
    )
    save_state(state, str(tmp_path / "state"))
    for read in (load_state(str(tmp_path / "state")), State.from_bytes(state.to_bytes())):
        assert read.meta["schedulers"][0]["best"] == float("inf")


class Changes(Callback):
    """What a user may do to an optimizer by hand."""

    def after_train_epoch(self, runner):
        for group in runner.optimizer.param_groups:
            group["lr"] *= 0.5
            group["momentum"] = 0.5 + 0.1 * runner.epoch
            group["weight_decay"] += 0.01


def test_settings_that_were_changed_by_hand(torch_ranks, tmp_path):
    given = of(Embedded, lr=0.1, arguments={"momentum": 0.9})
    state = check(torch_ranks, tmp_path, given, make=lambda: [Changes()])
    group = state.meta["optimizers"][0]["param_groups"][0]
    assert (group["lr"], group["momentum"]) == pytest.approx((0.1 / 16, 0.8))
    assert group["weight_decay"] == pytest.approx(0.04)


def test_rates_that_are_tensors(torch_ranks, tmp_path):
    def optimizer(model, config):
        return torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))

    from zoo.orca.learn.pytorch.recipe import recipe

    given = recipe(
        model=lambda config: Embedded(),
        optimizer=optimizer,
        loss=nn.MSELoss,
        scheduler_creator=lambda o, config: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
    )
    state = check(torch_ranks, tmp_path, given)
    rates = [value for name, value in state.tensors.items() if name.endswith("/lr")]
    np.testing.assert_allclose(rates, [0.01 * 0.5**4])


class Everything(nn.Module):
    """Dropout, batch normalisation, a buffer that counts, and an average of the weights."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(4, momentum=0.3), nn.Linear(4, 6), nn.Dropout(0.4), nn.Linear(6, 1)
        )
        self.average = torch.optim.swa_utils.AveragedModel(self.layers)
        self.average.requires_grad_(False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.layers(x).squeeze(-1)


class Averages(Callback):
    def after_train_epoch(self, runner):
        runner.model.average.update_parameters(runner.model.layers)


class Counts(TrainingOperator):
    """Keeps what it has seen, and draws random numbers of every kind."""

    def setup(self, config):
        self.rows, self.names = torch.zeros(2), {"epochs": 0, "pair": (1, [2.5, None])}

    def train_epoch(self, iterator, info):
        import random

        self.names["epochs"] += 1
        found = super().train_epoch(iterator, info)
        drawn = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return {**found, "drawn": drawn}

    def train_batch(self, batch, batch_info):
        self.rows += 1
        return super().train_batch(batch, batch_info)

    def state_dict(self):
        return {"rows": self.rows, "names": self.names}

    def load_state_dict(self, state_dict):
        self.rows, self.names = state_dict["rows"], state_dict["names"]


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
@pytest.mark.parametrize("operator", [None, Counts])
def test_buffers_averages_random_numbers_and_operators(torch_ranks, tmp_path, operator, counts):
    given = of(Everything, kind="Adam", lr=0.01, training_operator_cls=operator)
    state = check(
        torch_ranks,
        tmp_path,
        given,
        features=("x",),
        counts=counts,
        make=lambda: [Averages()],
    )
    assert state.tensors["weights/average.n_averaged"] == 4
    assert state.tensors["weights/seen"] == 24
    if operator:
        assert state.tensors["operator/rows"].tolist() == [24, 24]
        assert state.meta["operator"]["names"]["epochs"] == 4


class Forgets(Embedded):
    """What PyTorch itself does not put into a state_dict."""

    def __init__(self):
        super().__init__()
        self.register_buffer("aside", torch.zeros(()), persistent=False)
        self.count = 0

    def forward(self, x, u):
        if self.training:
            self.aside += 1
            self.count += 1
        return super().forward(x, u)


class Tells(Callback):
    def __init__(self):
        self.epochs = 0

    def after_train_epoch(self, runner):
        self.epochs += 1
        runner.logs_of_mine = [self.epochs, runner.model.count, int(runner.model.aside)]

    def after_run(self, runner):
        runner.model.out.bias.data[:] = torch.tensor(float(sum(runner.logs_of_mine)))


def test_what_is_not_kept_begins_as_it_was_made(torch_ranks):
    """A callback's own attributes, a module's, and buffers that are not persistent."""
    data = Data.of(columns(), (103,), features=("x", "u"))
    state = None
    for _ in range(2):
        (ran,) = train(torch_ranks, of(Forgets), data, state=state, callbacks=[Tells()], **TORCH)
        state = ran.trained.state
        assert state.tensors["weights/out.bias"] == 1 + 6 + 6


class Unfreezes(Callback):
    """Gives the optimizer another group of parameters."""

    def before_train_epoch(self, runner):
        if runner.epoch == 0:
            runner.optimizer.add_param_group({"params": [runner.config["extra"]]})


def test_groups_that_were_added_in_training_are_named(torch_ranks):
    def optimizer(model, config):
        config["extra"] = model.out.bias
        return torch.optim.SGD([model.out.weight], 0.1, momentum=0.9)

    from zoo.orca.learn.pytorch.recipe import recipe

    given = recipe(model=lambda config: Embedded(), optimizer=optimizer, loss=nn.MSELoss)
    data = Data.of(columns(), (103,), features=("x", "u"))
    (first,) = train(torch_ranks, given, data, callbacks=[Unfreezes()], **TORCH)
    (ran,) = train(torch_ranks, given, data, state=first.trained.state, initial_epoch=1, **TORCH)
    (told,) = [one.text for one in ran.progress if isinstance(one, Warned)]
    assert "begins anew" in told and "other groups of parameters while it trained" in told
