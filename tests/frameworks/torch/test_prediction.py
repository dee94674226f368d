"""Predictions of PyTorch alone: hooks of the user, and modules that are built by rows."""

# Annotations inside functions that travel to the ranks must not be looked up there.
from __future__ import annotations

from dataclasses import make_dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.frameworks.ranks import Data, Failed, plugin_of, predict_job, predicted, train
from tests.frameworks.torch_models import of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn.pytorch.recipe import recipe
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

pytestmark = pytest.mark.timeout(300)

ROWS = 15
NAMES = ("a", "b", "c")
SPEC = FeatureSpec(features=tuple(ColumnSpec(name=name, dtype="float32") for name in NAMES))
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
        from zoo.orca.frameworks.torch.models import seed_all

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
        from zoo.orca.frameworks.torch.saving.files import restore

        model = restore(job).eval()
        with torch.no_grad():
            return model(*map(torch.from_numpy, COLUMNS.values())).numpy()

    expected = torch_ranks.alone(plain)
    for most in (1, 4, None):
        (found,), _ = torch_ranks.alone(predicted, replace(job, batch_size=most), COLUMNS)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def of_three(function):
    """A model that is this function of its three columns."""

    def creator(config):
        class Model(nn.Module):
            def forward(self, a, b, c):
                return function(a, b, c)

        return Model()

    return job_of(creator)


def test_outputs_are_known_by_name_in_whatever_order_they_come(torch_ranks):
    def in_turn(a, b, c):
        found = {"first": a, "second": b.double()}
        return found if len(a) < 4 else dict(reversed(found.items()))

    job = of_three(in_turn)
    for most in (2, 7):
        found, specs = torch_ranks.alone(predicted, replace(job, batch_size=most), COLUMNS)
        assert [(one.name, one.dtype) for one in specs] == [
            ("first", "float32"),
            ("second", "float64"),
        ]
        np.testing.assert_array_equal(found[0], X[:, 0])
        np.testing.assert_array_equal(found[1], X[:, 1].astype(np.float64))


def test_a_dataclass_names_its_outputs(torch_ranks):
    def answer(a, b, c):
        # Written as a class its annotations are text, looked up in a module that a rank may lack.
        fields = [("score", torch.Tensor), ("hidden", tuple), ("loss", torch.Tensor, None)]
        return make_dataclass("Answer", fields)(a + b, (b, c))

    found, specs = torch_ranks.alone(predicted, of_three(answer), COLUMNS)
    names = ["score", "hidden_output_0", "hidden_output_1"]
    assert [one.name for one in specs] == names and all(one.named for one in specs)
    for ours, expected in zip(found, (X[:, 0] + X[:, 1], X[:, 1], X[:, 2]), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize(
    ("function", "cause", "way"),
    [
        (lambda a, b, c: {"x": a, "n": 5}, "returned something of type int as 'n'", "a dict or"),
        (lambda a, b, c: None, "returned something of type NoneType", "Let forward return"),
        (lambda a, b, c: {"h": (a, b), "h_output_1": c}, "the name 'h_output_1'", "Rename a key"),
        (
            lambda a, b, c: {"x": a, "y": b} if len(a) == 2 else {"x": a},
            "the outputs ['x'] for 3 rows, and ['x', 'y']",
            "Return the same outputs",
        ),
    ],
)
def test_what_cannot_be_predictions_is_named(torch_ranks, function, cause, way):
    with pytest.raises(Failed) as caught:
        torch_ranks.alone(predicted, of_three(function), COLUMNS)
    assert caught.value.kind is ModelError
    first, second = caught.value.message.splitlines()
    assert cause in first and way in second


def test_other_outputs_in_a_later_call_are_named(torch_ranks):
    job = of_three(lambda a, b, c: {"x": a, "y": b} if len(a) < 4 else {"x": a, "z": b})
    with pytest.raises(Failed, match=r"\['x', 'z'\] in one call, and \['x', 'y'\]") as caught:
        torch_ranks.alone(predicted, job, COLUMNS)
    assert caught.value.kind is ModelError


@pytest.mark.parametrize(
    ("kind", "way"),
    [("sparse", "to_dense()"), ("nested", "to_padded_tensor(0.0)")],
)
def test_tensors_that_are_not_dense_are_a_problem(torch_ranks, kind, way):
    def model(a, b, c):
        if kind == "sparse":
            return torch.stack([a, b], 1).to_sparse()
        return torch.nested.nested_tensor([row.reshape(1) for row in a])

    def problem():
        return plugin_of(of_three(model)).build(of_three(model), COLUMNS).outputs[0].problem

    cause, mended = torch_ranks.alone(problem).splitlines()
    assert f"'output_0' is a {kind} tensor" in cause and way in mended


def build(job):
    """Build without rows, as the first `predict` of a model does."""
    return plugin_of(job).build(job, None)


class OwnForward(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        raise AssertionError("this is training")


@pytest.mark.parametrize("parts", [{}, {"training_operator_cls": OwnForward}])
def test_columns_that_forward_does_not_take(torch_ranks, parts):
    with pytest.raises(Failed) as caught:
        torch_ranks.alone(build, job_of(linear, **parts))
    first, second = caught.value.message.splitlines()
    assert caught.value.kind is ModelError
    assert "takes ['input'], and feature_cols gives it 3 columns in order: ['a', 'b'" in first
    assert ("OwnForward.predict_batch" in second) == bool(parts)


def test_several_models_do_not_say_what_they_predict(torch_ranks):
    def several(config):
        return nn.Linear(3, 1), nn.Linear(3, 1)

    with pytest.raises(Failed) as caught:
        torch_ranks.alone(build, job_of(several))
    first, second = caught.value.message.splitlines()
    assert caught.value.kind is ModelError and "makes 2 models" in first
    assert "predict_batch(self, batch)" in second

    class Both(TrainingOperator):
        def predict_batch(self, batch):
            x = torch.stack(list(batch), 1)
            return sum(model(x) for model in self.models)

    job = job_of(several, training_operator_cls=Both)
    assert torch_ranks.alone(predicted, job, COLUMNS)[0][0].shape == (ROWS, 1)


def test_fit_too_tells_what_a_model_must_return(torch_ranks):
    data = Data.of({**COLUMNS, "y": X[:, 0]}, (ROWS,), features=NAMES)

    class Broken(Inside):
        def forward(self, a, b, c):
            return {"x": super().forward(a, b, c), "n": 5}

    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(Broken), data, framework="torch")
    assert caught.value.message.startswith("the model must return tensors, and returned something")


@pytest.mark.parametrize(
    ("loss", "threshold"),
    [(nn.BCEWithLogitsLoss, 0.0), (nn.BCELoss(), 0.5), (nn.MSELoss, None), (None, None)],
)
def test_the_loss_tells_a_logit_from_a_probability(torch_ranks, loss, threshold):
    class Summed(nn.Module):
        def forward(self, a, b, c):
            return a + b + c

    job = job_of(lambda config: Summed(), loss=loss)
    assert torch_ranks.alone(predicted, job, COLUMNS)[1][0].threshold == threshold
