"""What does not fit is refused, with the reason."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, evaluate, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Classifier, Embedded, of
from zoo.orca.errors import (
    CreatorError,
    DataError,
    InvalidInputError,
    MissingPackageError,
    ModelError,
    StateError,
)
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn.pytorch.recipe import recipe

pytestmark = pytest.mark.timeout(300)


def refused(ranks, given, data, kind=ModelError, **fields):
    """The message with which every rank refuses."""
    with pytest.raises(Failed) as caught:
        train(ranks, given, data, batch_size=20, framework="torch", **fields)
    assert caught.value.kind is kind, caught.value
    return caught.value.message


def rows_of(features=("x", "u"), counts=(103,), **more):
    return Data.of(columns(), counts, features=features, **more)


class Column(Embedded):
    """With an output of shape (batch, 1)."""

    def forward(self, x, u):
        return super().forward(x, u)[:, None]


@pytest.mark.parametrize(("result", "names"), [(None, "None"), (3, "builtins.int")])
def test_creator_returns_something_else(torch_ranks, result, names):
    assert names in refused(torch_ranks, of(lambda: result), rows_of())


@pytest.mark.parametrize("loss", [nn.MSELoss, nn.L1Loss(), F.mse_loss, nn.HuberLoss])
def test_silent_broadcast_of_outputs_and_labels(torch_ranks, loss):
    message = refused(torch_ranks, of(Column, loss=loss), rows_of())
    assert "(batch, 1)" in message and "(batch)" in message
    assert "squeeze(-1)" in message and "'y'" in message


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_floats_that_are_no_classes(torch_ranks, counts):
    rows = columns()
    rows["y"][:] = rows["label"]
    rows["y"][[3, 60]] = 0.5, 1.25
    data = Data.of(rows, counts, features=("x",))
    given = of(Classifier, loss=nn.CrossEntropyLoss)
    first, second = refused(torch_ranks, given, data, DataError).split("\n")
    assert first == (
        "column 'y': label 0.5 is no class, which is a whole number: 2 of 103 rows, "
        "for example 0.5, 1.25"
    )
    assert "F.round('y').cast('int')" in second


@pytest.mark.parametrize("counts", [(103,), (50, 53), (100, 0, 3)])
@pytest.mark.parametrize("which", ["rows", "validation", "evaluate"])
def test_labels_outside_the_classes(torch_ranks, counts, which):
    """On the last rank alone; all of them say the same."""
    good, rows = columns(), columns()
    rows["label"][-2:] = 6, -1
    good, rows = (Data.of(one, counts, features=("x",), labels=("label",)) for one in (good, rows))
    given = of(Classifier, loss=nn.CrossEntropyLoss)
    fields = {"batch_size": 20, "framework": "torch"}
    with pytest.raises(Failed) as caught:
        if which == "evaluate":
            evaluate(torch_ranks, given, rows, **fields)
        elif which == "validation":
            train(torch_ranks, given, good, validation=rows, **fields)
        else:
            train(torch_ranks, given, rows, **fields)
    assert caught.value.kind is DataError
    assert caught.value.rank == 0
    data = " of validation_data" if which == "validation" else ""
    first, second = caught.value.message.split("\n")
    expected = f"column 'label'{data}: label -1 is outside 0…2: 2 of 103 rows, for example -1, 6"
    assert first == expected
    assert second.startswith("Count classes from 0")


@pytest.mark.parametrize("loss", [nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits])
def test_labels_that_are_no_chances(torch_ranks, loss):
    """PyTorch trains on them without a word."""
    data = rows_of(counts=(50, 53), labels=("label",))
    message = refused(torch_ranks, of(Embedded, loss=loss), data, DataError)
    assert message.startswith("column 'label': label 2 is outside 0…1: ")


class CountsFromOne(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        x, label = batch
        output = self.model(x)
        return output, label - 1, self.criterion(output, label - 1)


def test_hooks_may_count_classes_otherwise(torch_ranks):
    rows = columns()
    rows["label"] += 1
    data = Data.of(rows, (50, 53), features=("x",), labels=("label",))
    given = of(Classifier, loss=nn.CrossEntropyLoss, training_operator_cls=CountsFromOne)
    ran = train(torch_ranks, given, data, validation=data, batch_size=20, framework="torch")
    rows["label"] -= 1
    data = Data.of(rows, (50, 53), features=("x",), labels=("label",))
    given = of(Classifier, loss=nn.CrossEntropyLoss)
    plain = train(torch_ranks, given, data, validation=data, batch_size=20, framework="torch")
    assert ran[0].trained.history["val_loss"] == pytest.approx(
        plain[0].trained.history["val_loss"], rel=1e-5
    )


def test_classes_in_arrays_of_one(torch_ranks):
    rows = columns()
    rows["label"] = rows["label"][:, None]
    data = Data.of(rows, (103,), features=("x",), labels=("label",))
    first, second = refused(torch_ranks, of(Classifier, loss=nn.CrossEntropyLoss), data).split("\n")
    assert "(batch, 3)" in first and "(batch, 1)" in first
    assert "F.col('label')[0]" in second


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        ((), "no label_cols"),
        (("y", "w"), "2: ['y', 'w']"),
        ({"stars": "y"}, "dict, {'stars': 'y'}"),
    ],
)
def test_a_loss_of_one_label_gets_one(torch_ranks, labels, given):
    data = Data.of(columns(), (103,), features=("x", "u"), labels=labels)
    first, second = refused(torch_ranks, of(Embedded, loss=nn.MSELoss), data).split("\n")
    assert first.startswith("MSELoss compares") and first.endswith(given)
    assert "label_cols=[" in second


def test_columns_that_are_not_forwards_arguments(torch_ranks):
    first, second = refused(torch_ranks, of(Embedded), rows_of(("x",))).split("\n")
    assert first == (
        "the model's forward takes ['x', 'u'], and feature_cols gives it 1 column in order: ['x']"
    )
    assert "a column for each argument" in second
    first, _ = refused(torch_ranks, of(Embedded), rows_of(("x", "u", "w"))).split("\n")
    assert "gives it 3 columns in order: ['x', 'u', 'w']" in first
    named = rows_of({"x": "x", "id": "u"})
    first, second = refused(torch_ranks, of(Embedded), named).split("\n")
    assert "by the keywords ['x', 'id']: ['x', 'u']" in first
    assert "{'argument': 'column'}" in second
    # The way out.
    named = rows_of({"u": "u", "x": "x"})
    train(torch_ranks, of(Embedded), named, batch_size=20, framework="torch")


def test_columns_of_a_type_that_the_model_does_not_take(torch_ranks):
    first, second = refused(torch_ranks, of(Column), rows_of(("x", "y"))).split("\n")
    assert "x float32 (batch, 4), y float32 (batch)" in first
    assert "cast('float')" in second
    first, _ = refused(torch_ranks, of(lambda: Embedded(vocabulary=5)), rows_of()).split("\n")
    assert "index out of range" in first and "u int32 (batch)" in first


class Breaks(Embedded):
    """Whose own mistake looks like one of its caller's."""

    def forward(self, x, u):
        return super().forward(x, u).squeeze(dim="last", keep=True)


def test_a_mistake_within_the_model_is_not_the_columns(torch_ranks):
    first, _ = refused(torch_ranks, of(Breaks), rows_of()).split("\n")
    assert first.startswith("the model fails on two rows of its columns") and "squeeze" in first


def test_missing_parts(torch_ranks):
    model = lambda config: Embedded()  # noqa: E731
    assert "optimizer" in refused(torch_ranks, recipe(model=model, loss=nn.MSELoss), rows_of())
    sgd = torch.optim.SGD
    assert "a loss" in refused(torch_ranks, recipe(model=model, optimizer=sgd), rows_of())
    given = recipe(model=model, optimizer=lambda model, config: 3, loss=nn.MSELoss)
    assert "torch.optim.Optimizer" in refused(torch_ranks, given, rows_of())
    given = of(Embedded, scheduler_creator=lambda optimizer, config: None)
    assert "scheduler_creator" in refused(torch_ranks, given, rows_of())
    given = of(Embedded, metrics=[3])
    assert "no metric" in refused(torch_ranks, given, rows_of())


def test_losses_without_a_value(torch_ranks):
    given = of(Embedded, loss=lambda config: nn.MSELoss(reduction="none"))
    assert "reduction" in refused(torch_ranks, given, rows_of())
    given = of(Embedded, loss=lambda output, target: ((output - target) ** 2).mean())
    message = refused(torch_ranks, given, rows_of(weight="w"))
    assert "sample_weight_col" in message


def test_state_of_another_model(torch_ranks):
    fields = {"batch_size": 20, "framework": "torch"}
    given = of(Classifier, loss=nn.CrossEntropyLoss)
    data = rows_of(("x",), labels=("label",))
    state = train(torch_ranks, given, data, **fields)[0].trained.state
    message = refused(torch_ranks, of(Embedded), rows_of(), StateError, state=state)
    assert "layers.0.weight" in message


def test_state_too_large_to_come_back(torch_ranks):
    data = rows_of()
    message = refused(torch_ranks, of(Embedded), data, StateError, max_state_bytes=70_000)
    assert "maxResultSize" in message
    # Weights fit; with Adam's moments, known after the first step, they do not.
    for batches in (1, 3):
        options = {"gradient_accumulation": batches}
        given = of(Embedded, kind="Adam")
        message = refused(
            torch_ranks, given, data, StateError, max_state_bytes=75_000, options=options
        )
        assert "model_dir" in message


def test_recipes_are_checked_on_the_driver():
    with pytest.raises(InvalidInputError, match="model must be"):
        recipe(model="ncf")
    with pytest.raises(InvalidInputError, match="scheduler_step_freq"):
        recipe(model=Embedded, scheduler_step_freq="never")
    with pytest.raises(InvalidInputError, match="optimizer must be"):
        recipe(model=Embedded, optimizer="adam")
    import threading

    lock = threading.Lock()
    with pytest.raises(CreatorError, match="lock"):
        recipe(model=lambda config: lock)


def test_missing_torch_on_the_driver(monkeypatch):
    import sys

    import zoo.orca.frameworks.torch.saving
    from zoo.orca.learn.pytorch import files

    # A module that was imported before is an attribute of its package too, and found there first.
    monkeypatch.delattr(zoo.orca.frameworks.torch.saving, "files", raising=False)
    monkeypatch.setitem(sys.modules, "zoo.orca.frameworks.torch.saving.files", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'zoo-orca\[torch\]'"):
        files.get_model(None)


def test_missing_torch_on_a_worker(monkeypatch):
    from zoo.orca.worker.child.runner import _missing

    found = _missing(ModuleNotFoundError("no", name="torch"), "torch")
    assert isinstance(found, MissingPackageError)
    assert "pip install 'zoo-orca[torch]'" in str(found)


def test_instances_keep_hyperparameters_of_their_groups(torch_ranks):
    model = Classifier()
    groups = [
        {"params": [model.layers[0].weight], "lr": 0.5},
        {"params": [model.layers[0].bias, *model.layers[2].parameters()], "weight_decay": 0.3},
    ]
    given = recipe(
        model=model, optimizer=torch.optim.AdamW(groups, lr=0.01), loss=nn.CrossEntropyLoss()
    )
    data = rows_of(("x",), (50, 53), labels=("label",))
    ran = train(torch_ranks, given, data, batch_size=20, framework="torch")
    saved = ran[0].trained.state.meta["optimizers"][0]["param_groups"]
    assert [(one["lr"], one["weight_decay"], len(one["params"])) for one in saved] == [
        (0.5, 0.01, 1),
        (0.01, 0.3, 3),
    ]
    assert np.isfinite(ran[0].trained.history["loss"][0])
