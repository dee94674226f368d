"""Predictions of PyTorch alone: hooks of the user, and modules that are built by rows."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import predict_job, predicted
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
