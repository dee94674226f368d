"""Creators and PyTorch: equal to a plain loop, in every epoch and after a break."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tests.frameworks.creators.created import train
from tests.frameworks.ranks import Ranks, same_on_all
from tests.frameworks.torch_models import of
from zoo.orca.errors import DataError, ModelError

pytestmark = pytest.mark.timeout(300)

ROWS, BATCH = 50, 12


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(ROWS, 4)).astype(np.float32))
    return x, x.sum(1, keepdim=True)


def linear() -> nn.Module:
    return nn.Linear(4, 1)


def ordered(config, batch_size):
    return DataLoader(TensorDataset(*tensors()), batch_size=batch_size)


def shuffled(config, batch_size):
    return DataLoader(TensorDataset(*tensors()), batch_size=batch_size, shuffle=True)


def uneven(config, batch_size):
    """One batch for rank 0, three for rank 1, each rank's own."""
    x, y = tensors()
    starts = [0] if config["rank"] == 0 else [10, 20, 30]
    return [(x[start : start + 10], y[start : start + 10]) for start in starts]


def run(ranks: Ranks, data, workers: int, **fields):
    fields.setdefault("batch_size", BATCH)
    return train(ranks, of(linear), data, workers, framework="torch", **fields)


def plain(batches):
    """A hand-written loop."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for x, y in batches:
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}


def equal(found, expected) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("workers", [1, 2])
def test_equal_to_a_plain_loop(torch_ranks: Ranks, workers: int) -> None:
    ran = run(torch_ranks, ordered, workers, epochs=2)
    same_on_all(ran)
    expected = torch_ranks.alone(lambda: plain(list(ordered({}, BATCH)) * 2))
    equal(ran[0].weights(), expected)


def test_workers_with_other_numbers_of_batches(torch_ranks: Ranks) -> None:
    ran = run(torch_ranks, uneven, 2)
    same_on_all(ran)
    x, y = tensors()
    first = torch.cat([torch.arange(10), torch.arange(10, 20)])
    batches = [(x[first], y[first]), (x[20:30], y[20:30]), (x[30:40], y[30:40])]
    equal(ran[0].weights(), torch_ranks.alone(lambda: plain(batches)))


def test_shuffled_orders_are_of_the_epoch_and_not_of_workers_or_runs(torch_ranks: Ranks) -> None:
    two = run(torch_ranks, shuffled, 2, epochs=2)
    one = run(torch_ranks, shuffled, 1, epochs=2)
    equal(two[0].weights(), one[0].weights())
    # One epoch, and a later call of another one, are two epochs.
    half = run(torch_ranks, shuffled, 2)
    rest = run(torch_ranks, shuffled, 2, state=half[0].trained.state, initial_epoch=1)
    equal(rest[0].weights(), two[0].weights())


def test_steps_per_epoch_go_on_over_passes(torch_ranks: Ranks) -> None:
    ran = run(torch_ranks, ordered, 2, epochs=2, steps_per_epoch=3)
    batches = (list(ordered({}, BATCH)) * 2)[:6]
    equal(ran[0].weights(), torch_ranks.alone(lambda: plain(batches)))
    # A later call goes on in the middle of the pass.
    half = run(torch_ranks, ordered, 2, steps_per_epoch=3)
    rest = run(
        torch_ranks, ordered, 2, steps_per_epoch=3, state=half[0].trained.state, initial_epoch=1
    )
    equal(rest[0].weights(), ran[0].weights())


class Stream(IterableDataset):
    """Two rows for each rank, in batches of one."""

    def __init__(self, rank):
        self.rank = rank

    def __iter__(self):
        x, y = tensors()
        return iter([(x[2 * self.rank + k], y[2 * self.rank + k]) for k in range(2)])


def test_an_iterable_data_set_is_each_workers_own(torch_ranks: Ranks) -> None:
    ran = run(torch_ranks, lambda config, batch_size: Stream(config["rank"]), 2, batch_size=4)
    x, y = tensors()
    equal(ran[0].weights(), torch_ranks.alone(lambda: plain([(x[:4], y[:4])])))


def refused(ranks: Ranks, data, workers: int = 2):
    fields = {"batch_size": BATCH}
    with pytest.raises(Exception) as caught:
        train(ranks, of(linear), data, workers, framework="torch", **fields)
    return caught.value


BAD = {
    "none": (lambda config, size: None, "returned None"),
    "arrays": (lambda config, size: tensors(), "a tuple of 2, which is one batch"),
    "number": (lambda config, size: 3, "returned an int, which has no batches"),
    "empty": (lambda config, size: [], "a loader without batches\n"),
    "empty on one": (
        lambda config, size: [tensors()] if config["rank"] == 0 else [],
        "a loader without batches on rank 1",
    ),
    "alone": (lambda config, size: [tensors()[:1]], "is a tuple of 1, not (x, y)"),
    "lengths": (lambda config, size: [(tensors()[0], tensors()[1][:-1])], "50 rows in x"),
    "other dtypes": (
        lambda config, size: [tuple(one.double() if config["rank"] else one for one in tensors())],
        "other batches on rank 1",
    ),
    "shape": (lambda config, size: [(tensors()[0][:, :3], tensors()[1])], "the model fails"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_loaders_are_refused(torch_ranks: Ranks, kind: str) -> None:
    data, words = BAD[kind]
    error = refused(torch_ranks, data)
    assert error.kind in (DataError, ModelError)
    assert words in error.message
    assert "\n" in error.message
