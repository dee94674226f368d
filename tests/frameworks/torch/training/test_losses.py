"""Losses whose labels count differently: n workers = one worker = a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import Data, evaluate, same_on_all, train
from tests.frameworks.torch.test_equal import close, columns
from tests.frameworks.torch_models import Classifier, of

pytestmark = pytest.mark.timeout(300)

BATCH, EPOCHS, STEPS = 20, 2, 6
WEIGHT = torch.tensor([0.2, 1.0, 3.0])
FIELDS = {"framework": "torch", "batch_size": BATCH}
COUNTS = [(103,), (50, 53), (90, 5, 8)]


def ignoring(*, every: int = 0, first: int = 0) -> dict[str, np.ndarray]:
    rows = columns()
    if every:
        rows["label"][::every] = -100
    rows["label"][:first] = -100
    return rows


def of_classes(rows: dict[str, np.ndarray], counts: tuple[int, ...]) -> Data:
    return Data.of(rows, counts, features=("x",), labels=("label",))


def plain(batches, loss, rate=0.05):
    """A hand-written loop: its weights, and each epoch's loss before the steps, label by label."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for number, batch in enumerate(batches):
        x, label = torch.from_numpy(batch["x"]), torch.from_numpy(batch["label"]).long()
        optimizer.zero_grad()
        value = loss(model(x), label)
        value.backward()
        optimizer.step()
        weight = torch.ones(3) if loss.weight is None else loss.weight
        counted = float(weight[label[label >= 0]].sum())
        if number % STEPS == 0:
            losses.append([0.0, 0.0])
        losses[-1][0] += float(value) * counted if counted else 0.0
        losses[-1][1] += counted
    weights = {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}
    return weights, [total / count for total, count in losses]


def plain_value(weights, rows, loss):
    """A plain evaluation of all rows at once."""
    model = Classifier()
    model.load_state_dict(
        {name.removeprefix("weights/"): torch.from_numpy(value) for name, value in weights.items()}
    )
    with torch.no_grad():
        label = torch.from_numpy(rows["label"]).long()
        return float(loss(model(torch.from_numpy(rows["x"])), label))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("more", [{}, {"weight": WEIGHT}, {"label_smoothing": 0.2}])
def test_an_epochs_loss_is_that_of_its_labels_on_any_number_of_workers(torch_ranks, counts, more):
    loss, data = nn.CrossEntropyLoss(**more), of_classes(ignoring(every=5), counts)
    ran = train(torch_ranks, of(Classifier, loss=loss), data, epochs=EPOCHS, **FIELDS)
    same_on_all(ran)
    weights, losses = torch_ranks.alone(plain, data.batches(BATCH, EPOCHS * STEPS), loss)
    close(ran[0].weights(), weights)
    np.testing.assert_allclose(ran[0].trained.history["loss"], losses, rtol=1e-5)


def test_one_worker_is_a_plain_loop_to_the_last_bit(torch_ranks):
    loss, data = nn.CrossEntropyLoss(), of_classes(ignoring(every=5), (103,))
    ran = train(torch_ranks, of(Classifier, loss=loss), data, epochs=EPOCHS, **FIELDS)
    weights, _ = torch_ranks.alone(plain, data.batches(BATCH, EPOCHS * STEPS), loss)
    for name, value in weights.items():
        np.testing.assert_array_equal(ran[0].weights()[name], value)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("more", [{}, {"weight": WEIGHT}, {"label_smoothing": 0.2}])
def test_labels_that_are_ignored_in_validation_alone(torch_ranks, counts, more):
    loss, seen = nn.CrossEntropyLoss(**more), ignoring(every=3, first=30)
    recipe, validation = of(Classifier, loss=loss), of_classes(seen, counts)
    ran = train(torch_ranks, recipe, of_classes(columns(), counts), validation=validation, **FIELDS)
    same_on_all(ran)
    expected = torch_ranks.alone(plain_value, ran[0].weights(), seen, loss)
    np.testing.assert_allclose(ran[0].trained.history["val_loss"], [expected], rtol=1e-5)
    state = ran[0].trained.state
    for found in evaluate(torch_ranks, recipe, validation, state=state, **FIELDS):
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("group", [1, 3])
def test_a_batch_whose_labels_are_all_ignored_moves_nothing(torch_ranks, counts, group):
    rows = {name: values[:60] for name, values in ignoring(first=60).items()}
    parts = tuple(np.diff([0, *[min(end, 60) for end in np.cumsum(counts)]]).tolist())
    loss, data = nn.CrossEntropyLoss(), of_classes(rows, parts)
    options = {"gradient_accumulation": group}
    ran = train(torch_ranks, of(Classifier, loss=loss), data, options=options, **FIELDS)
    weights, _ = torch_ranks.alone(untouched)
    for one in ran:
        assert np.isnan(one.trained.history["loss"]).all()
        close(one.weights(), weights)


def untouched():
    return plain([], nn.CrossEntropyLoss())


class Bag(nn.Module):
    """Three classes from a table whose gradients are sparse."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(500, 3, sparse=True)

    def forward(self, u):
        return self.table(u)


@pytest.mark.parametrize("counts", COUNTS)
def test_sparse_gradients_of_ignored_labels_are_nothing(torch_ranks, counts):
    data = Data.of(ignoring(first=103), counts, features=("u",), labels=("label",))
    ran = train(torch_ranks, of(Bag, loss=nn.CrossEntropyLoss), data, **FIELDS)
    for one in ran:
        assert np.isfinite(one.weights()["weights/table.weight"]).all()
