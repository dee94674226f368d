"""Predictions of PyTorch alone: hooks of the user, and modules that are built by rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import Data, predict_job, predicted, train
from tests.frameworks.torch_models import of
from zoo.orca.frameworks.torch_operator import TrainingOperator
from zoo.orca.learn.pytorch.recipe import recipe
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

pytestmark = pytest.mark.timeout(300)

ROWS = 15
NAMES = ("a", "b", "c")
SPEC = FeatureSpec(tuple(ColumnSpec(name, "float32") for name in NAMES))
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
COLUMNS = {name: np.ascontiguousarray(X[:, k]) for k, name in enumerate(NAMES)}


def job_of(model, **parts):
    """A job that predicts with a model of three columns."""
    return predict_job(recipe(model=model, **parts), SPEC, framework="torch")


class Stacking(TrainingOperator):
    """The model takes one input of what are three columns."""

    def predict_batch(self, batch):
        return self.model(torch.stack(list(batch), 1)).squeeze(-1)


def linear(config):
    return nn.Linear(3, 1)


def test_hooks_may_call_the_model_otherwise_than_by_its_columns(torch_ranks):
    job = job_of(linear, training_operator_cls=Stacking)
    (found,), _ = torch_ranks.alone(predicted, job, COLUMNS)

    def plain():
        from zoo.orca.frameworks.torch_models import seed_all

        seed_all(7)
        with torch.no_grad():
            return linear({})(torch.from_numpy(X))[:, 0].numpy()

    np.testing.assert_allclose(found, torch_ranks.alone(plain), rtol=1e-6)


class Inside(nn.Module):
    """Makes its parts in the first call, as `nn.LazyLinear` does without its help."""

    def __init__(self):
        super().__init__()
        self.out = None

    def forward(self, a, b, c):
        x = torch.stack([a, b, c], 1)
        if self.out is None:
            self.out = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 1))
        return self.out(x).squeeze(-1)


def test_parts_that_forward_makes_get_their_state_and_predict(torch_ranks):
    data = Data.of({**COLUMNS, "y": X[:, 0]}, (8, 7), features=NAMES)
    given = of(Inside)
    ran = train(torch_ranks, given, data, epochs=2, batch_size=4, framework="torch")
    state = ran[0].trained.state
    job = predict_job(given, data.spec, state=state, framework="torch")

    def plain():
        from zoo.orca.frameworks.torch_driver import restore

        model = restore(job).eval()
        with torch.no_grad():
            return model(*map(torch.from_numpy, COLUMNS.values())).numpy()

    expected = torch_ranks.alone(plain)
    for most in (1, 4, None):
        (found,), _ = torch_ranks.alone(predicted, replace(job, batch_size=most), COLUMNS)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
