"""Small batches on any number of workers: the same rows in each step, the same training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, columns
from tests.frameworks.models import keras_of, optimizer_of
from tests.frameworks.ranks import SEED, Data, same_on_all
from tests.frameworks.torch_family import optimizer_of as torch_optimizer_of
from zoo.orca.learn.pytorch.recipe import recipe
from zoo.orca.wire.plans.canonical import CanonicalPlan

pytestmark = pytest.mark.timeout(300)

#: 18 epochs of 11 steps and 1 of 2: 200 steps, the last of each epoch with fewer rows than workers.
ROWS, EPOCHS = 202, 18


@dataclass
class InSequence(Data):
    """Rows of one sequence, a part of which each rank has."""

    def plan(self, batch_size, *, shuffle=True):
        counts = tuple(len(next(iter(shard.values()))) for shard in self.shards)
        fields = {"seed": SEED, "shuffle": shuffle}
        plan = CanonicalPlan(rows=sum(counts), workers=len(counts), batch_size=batch_size, **fields)
        assert plan.counts == counts
        return plan


def in_sequence(rows: dict[str, np.ndarray], workers: int, batch_size: int, **roles: Any) -> Data:
    """The same rows on some number of workers."""
    count = len(next(iter(rows.values())))
    plan = CanonicalPlan(rows=count, workers=workers, batch_size=batch_size)
    cut = Data.of(rows, plan.counts, **roles)
    return InSequence(cut.shards, cut.spec)


def test_two_hundred_steps_are_the_same_on_any_number_of_workers(bench):
    found = []
    for workers in (1, 3):
        data = in_sequence(columns(ROWS), workers, BATCH, features=("x", "u"))
        seen = Data(data.shards, data.spec)
        fields = {"epochs": EPOCHS, "validation": seen, "validation_freq": 6}
        ran = bench.train(bench.family.embedding, data, **fields)
        same_on_all(ran)
        found.append(ran[0])
    alone, several = found
    for name, value in alone.weights().items():
        np.testing.assert_allclose(several.weights()[name], value, rtol=1e-4, atol=1e-4)
    for name, values in alone.trained.history.items():
        np.testing.assert_allclose(several.trained.history[name], values, rtol=1e-4)


def _wide(config: dict[str, Any]) -> Any:
    """A model of doubles, with Keras."""
    keras = keras_of(config)
    keras.backend.set_floatx("float64")  # of losses, too; a job's setting ends with it
    hidden = keras.layers.Dense(8, activation="tanh", dtype="float64")
    out = keras.layers.Dense(1, dtype="float64")
    model = keras.Sequential([keras.Input((4,), dtype="float64"), hidden, out])
    double = {"dtype": "float64"} if config["keras"] == 3 else {}
    model.compile(optimizer_of(config), keras.losses.MeanSquaredError(**double))
    return model


def _wide_torch(config: dict[str, Any]) -> Any:
    """The same with PyTorch."""
    from torch import nn

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()

        def forward(self, x: Any) -> Any:
            return self.layers(x.double()).squeeze(-1)

    return Wide()


def _squares(predictions: Any, y: Any) -> Any:
    return ((predictions - y) ** 2).mean()


def test_doubles_are_the_same_to_their_precision(bench):
    backend = bench.family.environment.get("KERAS_BACKEND")
    if backend in ("jax", "torch"):
        pytest.skip("JAX has no doubles unless asked, and Keras on torch makes losses of floats")
    creator: Any = _wide
    if bench.family.framework == "torch":
        creator = recipe(
            model=_wide_torch, loss=lambda config: _squares, optimizer=torch_optimizer_of
        )
    found = []
    for workers in (1, 3):
        data = in_sequence(columns(ROWS), workers, BATCH, features=("x",))
        found.append(bench.train(creator, data, epochs=EPOCHS)[0].weights())
    for name, value in found[0].items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9, atol=1e-9)


def test_the_loss_curve_of_a_recommender_is_the_same(bench):
    random = np.random.default_rng(3)
    ids = {name: random.integers(0, 64, 500).astype(np.int32) for name in ("user", "item")}
    rows = {**ids, "label": ((ids["user"] * 7 + ids["item"]) % 5).astype(np.int32)}
    shapes = {n: (64, 4) for n in ("gmf_user", "gmf_item", "mlp_user", "mlp_item")}
    shapes |= {"hidden": (8, 8), "out": (12, 5)}
    weights = {n: random.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}
    curves = []
    for workers in (1, 2):
        data = in_sequence(rows, workers, 32, features=("user", "item"), labels=("label",))
        ran = bench.train(
            bench.family.ncf,
            data,
            batch_size=32,
            epochs=20,
            steps_per_epoch=3,
            config=bench.config(weights=weights),
        )
        curves.append(ran[0].trained.history["loss"])
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)


def test_another_number_of_workers_goes_on_in_mid_pass(bench):
    def trained(workers, **fields):
        data = in_sequence(columns(ROWS), workers, BATCH, features=("x", "u"))
        return bench.train(bench.family.embedding, data, steps_per_epoch=7, **fields)[0].trained

    whole = trained(1, epochs=4)
    begun = trained(2, epochs=1)
    rest = trained(3, epochs=3, initial_epoch=1, state=begun.state)
    for name, value in whole.state.tensors.items():
        if name.startswith("weights/"):
            np.testing.assert_allclose(rest.state.tensors[name], value, rtol=1e-4, atol=1e-4)
