"""How rows fall into batches does not matter, not even where a batch has one row."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, evaluate, same_on_all, train
from tests.frameworks.torch.test_equal import close, columns
from tests.frameworks.torch_models import of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.row_shapes import RowShapes
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn import metrics as orca

pytestmark = pytest.mark.timeout(300)


class Plain(nn.Module):
    """Whose outputs always have the axis of rows."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


class Squeezed(Plain):
    """A single row's output is a scalar."""

    def forward(self, x):
        return self.layers(x).squeeze()


class Reshaped(Plain):
    def forward(self, x):
        return self.layers(x).reshape(-1)


class PlainClasses(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x):
        return self.layers(x)


class SqueezedClasses(PlainClasses):
    """(n, 1, 3) without its axes of one: a single row's scores look like rows."""

    def forward(self, x):
        return self.layers(x)[:, None].squeeze()


class PlainSteps(PlainClasses):
    """A sequence of three numbers, to be compared with its label three times."""

    def forward(self, x):
        return {"steps": self.layers(x), "last": self.layers(x)[:, -1]}


class SqueezedSteps(PlainClasses):
    def forward(self, x):
        steps = self.layers(x)[:, :, None]
        return {"steps": steps.squeeze(), "last": steps[:, -1].squeeze()}


def of_steps(output, target):
    return F.mse_loss(output["steps"], target[:, None].expand(-1, 3)) + F.l1_loss(
        output["last"], target
    )


def last(output, target):
    return (output["last"] - target).abs()


MODELS = {
    "squeeze": (Plain, Squeezed, nn.MSELoss, "y", [orca.MAE()]),
    "reshape": (Plain, Reshaped, F.mse_loss, "y", [orca.MAE()]),
    "own loss": (Plain, Squeezed, lambda o, t: ((o - t) ** 2).mean(), "y", [orca.MAE()]),
    "huber": (Plain, Squeezed, nn.HuberLoss, "y", [orca.MSE()]),
    "two classes": (Plain, Squeezed, nn.BCEWithLogitsLoss, "flag", [orca.Accuracy()]),
    "classes": (PlainClasses, SqueezedClasses, nn.CrossEntropyLoss, "label", [orca.Accuracy()]),
    "weights": (
        PlainClasses,
        SqueezedClasses,
        lambda config: nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0])),
        "label",
        [orca.Accuracy()],
    ),
    "dict": (PlainSteps, SqueezedSteps, of_steps, "y", [last]),
}
SHARDS = [(15,), (8, 7), (14, 1), (1, 0), (1,), (3, 0, 4)]
BATCHES = [1, 2, 7]


def by_hand(model, loss, label, batches):
    """Weights of a plain loop."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    made = model()
    if isinstance(loss, type):
        loss = loss()
    optimizer = torch.optim.SGD(made.parameters(), lr=0.05)
    for batch in batches:
        target = torch.from_numpy(batch[label])
        target = target.long() if label == "label" else target.float()
        optimizer.zero_grad()
        loss(made(torch.from_numpy(batch["x"])), target).backward()
        optimizer.step()
    return {f"weights/{name}": value.numpy() for name, value in made.state_dict().items()}


def data_of(counts, label):
    return Data.of(columns(sum(counts)), counts, features=("x",), labels=(label,))


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("counts", SHARDS)
@pytest.mark.parametrize("name", MODELS)
def test_training_and_validation(torch_ranks, name, counts, batch_size):
    plain, model, loss, label, metrics = MODELS[name]
    data = data_of(counts, label)
    fields = {"framework": "torch", "batch_size": batch_size, "epochs": 2}
    ran = train(torch_ranks, of(model, loss=loss, metrics=metrics), data, validation=data, **fields)
    same_on_all(ran)
    batches = data.batches(batch_size, 2 * data.plan(batch_size).steps_per_pass)
    hand = loss(None) if name == "weights" else loss
    close(ran[0].weights(), torch_ranks.alone(by_hand, plain, hand, label, batches))
    # Of the model that keeps the axis everything is the same.
    given = of(plain, loss=loss, metrics=metrics)
    kept = train(torch_ranks, given, data, validation=data, **fields)
    assert list(kept[0].trained.history) == list(ran[0].trained.history)
    for key, values in kept[0].trained.history.items():
        np.testing.assert_allclose(ran[0].trained.history[key], values, rtol=1e-5, atol=1e-7)
    assert ran[0].trained.outputs == kept[0].trained.outputs


@pytest.mark.parametrize("counts", [(15,), (8, 7), (14, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_evaluation_does_not_depend_on_batches(torch_ranks, name, counts):
    _, model, loss, label, metrics = MODELS[name]
    data = data_of(counts, label)
    found = [
        evaluate(
            torch_ranks,
            of(model, loss=loss, metrics=metrics),
            data,
            batch_size=size,
            framework="torch",
        )[0]
        for size in (1, 2, 7, 15)
    ]
    for other in found[1:]:
        assert list(other) == list(found[0])
        np.testing.assert_allclose(list(other.values()), list(found[0].values()), rtol=1e-5)


class Forward(TrainingOperator):
    """A step written out, with the default forward pass."""

    def train_batch(self, batch, batch_info):
        _, _, loss = self.forward_batch(batch, batch_info)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train_loss": loss}


@pytest.mark.parametrize("batch_size", [1, 2, 7])
@pytest.mark.parametrize("counts", [(15,), (14, 1)])
@pytest.mark.parametrize("own", [Forward, MainCallback])
def test_hooks_get_outputs_with_the_axis(torch_ranks, own, counts, batch_size):
    data = data_of(counts, "label")
    fields = {"framework": "torch", "batch_size": batch_size}
    parts = {"loss": nn.CrossEntropyLoss, "metrics": [orca.Accuracy()]}
    default = train(torch_ranks, of(SqueezedClasses, **parts), data, validation=data, **fields)
    if own is Forward:
        parts["training_operator_cls"] = Forward
    else:
        fields["callbacks"] = [MainCallback()]
    ran = train(torch_ranks, of(SqueezedClasses, **parts), data, validation=data, **fields)
    close(ran[0].weights(), default[0].weights())
    for key, values in default[0].trained.history.items():
        np.testing.assert_allclose(ran[0].trained.history[key], values, rtol=1e-5)


class Wrong(PlainClasses):
    """One row's output is something else."""

    def forward(self, x):
        return self.layers(x) if len(x) > 1 else self.layers(x).sum()


class Scalar(PlainClasses):
    def forward(self, x):
        return self.layers(x).mean()


class Longer(PlainClasses):
    def forward(self, x):
        return self.layers(x).reshape(-1)


@pytest.mark.parametrize("call", [train, evaluate])
@pytest.mark.parametrize("counts", [(15,), (14, 1)])
def test_what_is_no_row_is_named(torch_ranks, call, counts):
    data = data_of(counts, "label")
    given = of(Wrong, loss=nn.CrossEntropyLoss)
    with pytest.raises(Failed) as caught:
        call(torch_ranks, given, data, batch_size=2, framework="torch")
    assert caught.value.kind is ModelError
    first, second = caught.value.message.split("\n")
    assert "() for one row, and of shape (2, 3) for 2" in first
    assert "squeeze(-1)" in second


@pytest.mark.parametrize(("model", "shape"), [(Scalar, "()"), (Longer, "(6,)")])
@pytest.mark.parametrize("counts", [(15,), (1,), (1, 0)])
@pytest.mark.parametrize("loss", [nn.MSELoss, F.l1_loss])
def test_outputs_without_an_entry_for_each_row_are_refused(torch_ranks, loss, counts, model, shape):
    """PyTorch would compare them with every label: a scalar always, three numbers with one."""
    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(model, loss=loss), data_of(counts, "y"), framework="torch")
    assert caught.value.kind is ModelError
    first, second = caught.value.message.split("\n")
    assert f"shape {shape} for 2 rows" in first and "'y'" in first
    assert "a value for each row" in second


def own(output, target):
    return output


def test_a_loss_of_the_models_own_is_left_alone(torch_ranks):
    """A scalar that the user's loss hands on, whatever the rows."""
    data = data_of((15,), "y")
    (ran,) = train(torch_ranks, of(Scalar, loss=own), data, batch_size=2, framework="torch")
    assert np.isfinite(ran.trained.history["loss"]).all()


class Pair(NamedTuple):
    score: torch.Tensor
    note: str


def test_shapes_of_rows_within_what_a_model_returns():
    shapes = RowShapes((torch.ones(2, 3), {"a": torch.ones(2), "b": torch.ones(4)}, None))
    whole = (torch.ones(1, 3), {"a": torch.ones(1), "b": torch.ones(4)}, None)
    assert shapes.of_one_row(whole) is whole
    given = (torch.ones(3), {"a": torch.ones(()), "b": torch.ones(4)}, None)
    first, second, third = shapes.of_one_row(given)
    assert first.shape == (1, 3) and second["a"].shape == (1,) and third is None
    assert second["b"] is given[1]["b"] and given[1]["a"].dim() == 0
    named = RowShapes(Pair(torch.ones(2, 3), "x")).of_one_row(Pair(torch.ones(3), "x"))
    assert isinstance(named, Pair) and named.score.shape == (1, 3)
    # Rows as long as the longest of the batch, and outputs that only training has.
    assert shapes.of_one_row((torch.ones(1, 7),))[0].shape == (1, 7)
    assert RowShapes(torch.ones(2, 3)).of_one_row((torch.ones(3),))[0].shape == (3,)
    with pytest.raises(ModelError, match=r"output\[1\]\['a'\] is of shape \(2, 2\)"):
        shapes.of_one_row((torch.ones(1, 3), {"a": torch.ones(2, 2)}))
