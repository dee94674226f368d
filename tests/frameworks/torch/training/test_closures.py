"""Every optimizer of PyTorch takes the steps of a hand-written loop, on any number of workers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, same_on_all, train
from tests.frameworks.torch.saving.test_state import check as check_kept
from tests.frameworks.torch.test_equal import Table, close, columns
from tests.frameworks.torch_models import Classifier, Embedded, Normalised, of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.closures import Evaluations, needs_closure
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn import metrics as orca
from zoo.orca.learn.pytorch.recipe import recipe

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
COUNTS = [(103,), (50, 53), (100, 3)]
each_counts = pytest.mark.parametrize("counts", COUNTS)


class Matrices(nn.Module):
    """Nothing but matrices."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x))).sum(1)


OPTIMIZERS = {
    "Adadelta": {"lr": 1.0},
    "Adafactor": {"lr": 0.01},
    "Adagrad": {"lr": 0.05},
    "Adam": {"lr": 0.01, "amsgrad": True},
    "AdamW": {"lr": 0.01},
    "Adamax": {"lr": 0.01},
    "ASGD": {"lr": 0.05, "t0": 2},
    "LBFGS": {"lr": 0.2, "max_iter": 4},
    "LBFGS-wolfe": {"lr": 0.5, "max_iter": 4, "line_search_fn": "strong_wolfe"},
    "Muon": {"lr": 0.01},
    "NAdam": {"lr": 0.01},
    "RAdam": {"lr": 0.01},
    "RMSprop": {"lr": 0.005, "centered": True, "momentum": 0.5},
    "Rprop": {"lr": 0.001},
    "SGD": {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "SparseAdam": {"lr": 0.01},
}


def test_none_of_pytorch_is_missing():
    known = {name.partition("-")[0] for name in OPTIMIZERS}
    there = {
        name
        for name in torch.optim.__all__
        if isinstance(getattr(torch.optim, name), type) and name != "Optimizer"
    }
    assert there == known
    made = {n: getattr(torch.optim, n)([nn.Parameter(torch.ones(2, 2))]) for n in known}
    assert [name for name, one in made.items() if needs_closure(one)] == ["LBFGS"]


class Exact(nn.Module):
    """In double precision: a line search makes much of the last bit."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner().double()

    def forward(self, x, *more):
        return self.inner(x.double(), *more)


def kind_of(name):
    """The model and its columns."""
    if name.startswith("LBFGS"):
        return lambda: Exact(Embedded), ("x", "u")
    if name == "Muon":
        return Matrices, ("x",)
    return (lambda: Table(500), ("u",)) if name == "SparseAdam" else (Embedded, ("x", "u"))


def by_hand(model, batches, compute, make, group=1):
    """A plain loop with an update for every `group` batches; losses before each update."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    made = model()
    optimizer = make(made)
    losses = []
    for batch in batches:
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}

        def closure(tensors=tensors):
            optimizer.zero_grad()
            loss = compute(made, tensors)
            loss.backward()
            return loss

        losses.append(float(optimizer.step(closure)))
    return {f"weights/{n}": value.numpy() for n, value in made.state_dict().items()}, losses


def optimizer_of(name, arguments):
    return lambda model: getattr(torch.optim, name.partition("-")[0])(
        model.parameters(), **arguments
    )


@each_counts
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer(torch_ranks, name, counts):
    model, features = kind_of(name)
    arguments = OPTIMIZERS[name]
    make = optimizer_of(name, arguments)
    data = Data.of(columns(), counts, features=features)
    given = recipe(
        model=lambda config: model(), optimizer=lambda m, config: make(m), loss=nn.MSELoss
    )
    ran = train(torch_ranks, given, data, epochs=2, **TORCH)
    same_on_all(ran)

    def compute(made, batch):
        output = made(*[batch[name] for name in features])
        return F.mse_loss(output, batch["y"].to(output.dtype))

    weights, losses = torch_ranks.alone(by_hand, model, data.batches(20, 12), compute, make)
    close(ran[0].weights(), weights)
    rows = np.array([20, 20, 20, 20, 20, 3])
    expected = [np.average(losses[:6], weights=rows), np.average(losses[6:], weights=rows)]
    np.testing.assert_allclose(ran[0].trained.history["loss"], expected, rtol=1e-4)


LBFGS = {"lr": 0.3, "max_iter": 5, "history_size": 3, "line_search_fn": "strong_wolfe"}


def searched(ranks, model, data, compute, *, batch=20, epochs=2, options=None, **parts):
    """Train by L-BFGS, and by hand; return what ran."""
    make, inner = optimizer_of("LBFGS", LBFGS), model
    model = lambda: Exact(inner)  # noqa: E731
    fields = {"framework": "torch", "batch_size": batch, "options": options or {}}
    fields["callbacks"] = parts.pop("callbacks", None)
    given = recipe(model=lambda config: model(), optimizer=lambda m, config: make(m), **parts)
    ran = train(ranks, given, data, epochs=epochs, **fields)
    same_on_all(ran)
    size = batch * (options or {}).get("gradient_accumulation", 1)
    batches = data.batches(size, epochs * data.plan(size).steps_per_pass)
    weights, _ = ranks.alone(by_hand, model, batches, compute, make)
    close(ran[0].weights(), weights)
    return ran


def entropy(model, batch, **more):
    return F.cross_entropy(model(batch["x"]), batch["label"].long(), **more)


@each_counts
def test_line_searches_over_sums_weights_and_groups(torch_ranks, counts):
    rows = columns()
    numbers = Data.of(rows, counts, features=("x", "u"), weight="w")

    def weighted(model, batch):
        errors = model(batch["x"], batch["u"]) - batch["y"].double()
        return (batch["w"] * errors**2).mean()

    searched(torch_ranks, Embedded, numbers, weighted, loss=nn.MSELoss)
    data = Data.of(rows, counts, features=("x",), labels=("label",))
    weight = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)

    def classes(model, batch):
        return entropy(model, batch, weight=weight)

    searched(torch_ranks, Classifier, data, classes, loss=nn.CrossEntropyLoss(weight=weight))

    def total(model, batch):
        return entropy(model, batch, reduction="sum")

    summed = nn.CrossEntropyLoss(reduction="sum")
    searched(torch_ranks, Classifier, data, total, loss=lambda config: summed)


def test_line_searches_by_groups_of_batches(torch_ranks):
    data = Data.of(columns(120), (50, 70), features=("x",), labels=("label",))
    ran = searched(
        torch_ranks,
        Classifier,
        data,
        entropy,
        options={"gradient_accumulation": 3},
        loss=nn.CrossEntropyLoss,
        metrics=[orca.Accuracy()],
    )
    # Each row counts once, however often it was looked at.
    assert ran[0].trained.state.meta["step"] == 12


class OwnForward(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        x, target = batch
        output = self.model(x)
        return output, target, self.criterion(output, target)


class OwnClosure(TrainingOperator):
    def train_batch(self, batch, batch_info):
        def closure():
            self.optimizer.zero_grad()
            _, _, loss = self.forward_batch(batch, batch_info)
            loss.backward()
            losses.append(loss.detach())
            return loss

        losses = []
        self.optimizer.step(closure)
        return {"train_loss": losses[0]}


class ByKeyword(OwnClosure):
    def setup(self, config):
        step = self.optimizer.step
        self.optimizer.step = lambda closure: step(closure=closure)


@each_counts
@pytest.mark.parametrize("own", [OwnForward, OwnClosure, ByKeyword, MainCallback])
def test_hooks_search_over_all_workers(torch_ranks, own, counts):
    data = Data.of(columns(), counts, features=("x",), labels=("label",))
    parts = {"loss": nn.CrossEntropyLoss, "metrics": [orca.Accuracy()]}
    default = searched(torch_ranks, Classifier, data, entropy, **parts)
    if own is MainCallback:
        parts["callbacks"] = [MainCallback()]
    else:
        parts["training_operator_cls"] = own
    ran = searched(torch_ranks, Classifier, data, entropy, **parts)
    np.testing.assert_allclose(
        ran[0].trained.history["loss"], default[0].trained.history["loss"], rtol=1e-4
    )
    if own in (OwnForward, MainCallback):
        history = ran[0].trained.history["Accuracy"]
        assert history == pytest.approx(default[0].trained.history["Accuracy"])


@each_counts
def test_a_closure_of_the_users_for_an_optimizer_that_needs_none(torch_ranks, counts):
    """Its gradients are made within the step, and must meet all the same."""
    data = Data.of(columns(), counts, features=("x",), labels=("label",))
    parts = {"loss": nn.CrossEntropyLoss, "lr": 0.1, "arguments": {"momentum": 0.9}}
    default = train(torch_ranks, of(Classifier, **parts), data, epochs=2, **TORCH)
    given = of(Classifier, training_operator_cls=OwnClosure, **parts)
    ran = train(torch_ranks, given, data, epochs=2, **TORCH)
    same_on_all(ran)
    close(ran[0].weights(), default[0].weights())
    np.testing.assert_allclose(
        ran[0].trained.history["loss"], default[0].trained.history["loss"], rtol=1e-5
    )


def test_line_searches_with_synchronised_statistics(torch_ranks):
    data = Data.of(columns(), (60, 43), features=("x",))

    def compute(model, batch):
        return F.mse_loss(model(batch["x"]), batch["y"].double())

    searched(
        torch_ranks,
        lambda: Normalised(track_running_stats=False),
        data,
        compute,
        epochs=1,
        loss=nn.MSELoss,
        sync_batch_norm=True,
    )


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_what_a_line_search_remembers_is_kept(torch_ranks, tmp_path, counts):
    make = optimizer_of("LBFGS", LBFGS)
    given = recipe(
        model=lambda config: Embedded(), optimizer=lambda m, config: make(m), loss=nn.MSELoss
    )
    state = check_kept(torch_ranks, tmp_path, given, counts=counts)
    assert any("old_dirs" in name for name in state.tensors)


def test_searches_that_come_apart_are_named():
    class Two:
        """A peer at this place of its search."""

        size = 2

        def all_reduce(self, values):
            values += np.array([0.5, 0.0, *self.ahead(*values[2:])])

        def __init__(self, ahead):
            self.ahead = ahead

    for ahead in (lambda step, count: (step, count + 1), lambda step, count: (step + 1, count)):
        evaluations = Evaluations(Two(ahead))
        evaluations.begin()
        with pytest.raises(ModelError) as caught:
            evaluations.loss(0.5, 0.0)
    evaluations = Evaluations(Two(lambda step, count: (step, count)))
    evaluations.begin()
    assert [evaluations.loss(0.25, 0.0) for _ in "ab"] == [0.75, 0.75]
    first, second = str(caught.value).split("\n")
    assert "come apart" in first and "one worker" in second


class Ahead(TrainingOperator):
    """On rank 1 the search asks once more."""

    def train_batch(self, batch, batch_info):
        def closure():
            self.optimizer.zero_grad()
            _, _, loss = self.forward_batch(batch, batch_info)
            loss.backward()
            return loss

        for group in self.optimizer.param_groups:
            group["max_eval"] = 2 + self.world_rank
        self.optimizer.step(closure)
        return {"train_loss": 0.0}


def test_no_worker_goes_on_by_itself(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x",), labels=("label",))
    given = of(
        Classifier,
        kind="LBFGS",
        lr=0.1,
        arguments={"max_iter": 4},
        loss=nn.CrossEntropyLoss,
        training_operator_cls=Ahead,
    )
    with pytest.raises(Failed) as caught:
        train(torch_ranks, given, data, **TORCH)
    assert "come apart" in caught.value.message


class Halves(nn.Module):
    """Of which the optimizer trains one."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


def head_alone(model):
    return torch.optim.SGD(model.head.parameters(), lr=0.5)


@each_counts
@pytest.mark.parametrize("own", [None, OwnForward])
def test_a_norm_is_that_of_what_is_trained(torch_ranks, own, counts):
    """Gradients of other parameters are one worker's alone."""
    data = Data.of(columns(), counts, features=("x",), labels=("label",))
    given = recipe(
        model=lambda config: Halves(),
        optimizer=lambda model, config: head_alone(model),
        loss=nn.CrossEntropyLoss,
        training_operator_cls=own,
    )
    ran = train(torch_ranks, given, data, options={"clip_grad_norm": 0.05}, epochs=2, **TORCH)
    same_on_all(ran)

    def clipped():
        from zoo.orca.frameworks.torch.models import seed_all

        seed_all(7)
        model = Halves()
        optimizer = head_alone(model)
        for batch in data.batches(20, 12):
            optimizer.zero_grad()
            entropy(model, {name: torch.from_numpy(v) for name, v in batch.items()}).backward()
            torch.nn.utils.clip_grad_norm_(model.head.parameters(), 0.05)
            optimizer.step()
        return {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}

    close(ran[0].weights(), torch_ranks.alone(clipped))
