"""Weights on several workers equal those of one that takes the same global batches."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, same_on_all, train
from tests.frameworks.torch_models import Classifier, Embedded, Normalised, of
from zoo.orca.learn import metrics as orca

pytestmark = pytest.mark.timeout(300)

BATCH = 20


def columns(rows: int = 103) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    return {
        "x": x,
        "u": random.integers(0, 500, rows).astype(np.int32),
        "label": random.integers(0, 3, rows).astype(np.int32),
        "flag": random.integers(0, 2, rows).astype(np.int32),
        "y": (x.sum(axis=1) + random.normal(size=rows)).astype(np.float32),
        "w": random.uniform(0.1, 3.0, rows).astype(np.float32),
    }


def plain(model, batches, step, kind="SGD", lr=0.05, arguments=None):
    """A hand-written loop over the global batches; `step(model, batch)` returns the loss."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    made = model()
    optimizer = getattr(torch.optim, kind)(made.parameters(), lr=lr, **(arguments or {}))
    for batch in batches:
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
        optimizer.zero_grad()
        step(made, tensors).backward()
        optimizer.step()
    return {f"weights/{name}": value.numpy() for name, value in made.state_dict().items()}


def check(ranks, model, data, step, *, epochs=2, loss=nn.MSELoss, parts=None, tell=(), **optimizer):
    """Train on several workers and by a plain loop."""
    recipe = of(model, loss=loss, **optimizer, **(parts or {}))
    ran = train(
        ranks, recipe, data, batch_size=BATCH, epochs=epochs, framework="torch", **dict(tell)
    )
    same_on_all(ran)
    batches = data.batches(BATCH, epochs * data.plan(BATCH).steps_per_pass)
    expected = ranks.alone(plain, model, batches, step, *_plain(optimizer))
    close(ran[0].weights(), expected)
    return ran


def _plain(optimizer):
    return optimizer.get("kind", "SGD"), optimizer.get("lr", 0.05), optimizer.get("arguments")


def close(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-5, err_msg=name)


def regression(model, batch):
    return F.mse_loss(model(batch["x"], batch["u"]), batch["y"])


MOMENTUM = {"kind": "SGD", "lr": 0.02, "arguments": {"momentum": 0.9, "weight_decay": 0.1}}
ADAM = {"kind": "Adam", "lr": 0.01}


@pytest.mark.parametrize(
    ("optimizer", "counts"),
    [({}, (103,)), ({}, (50, 53)), (MOMENTUM, (30, 40, 33)), (ADAM, (50, 53)), (ADAM, (90, 5, 8))],
)
def test_optimizers(torch_ranks, optimizer, counts):
    data = Data.of(columns(), counts, features=("x", "u"))
    check(torch_ranks, Embedded, data, regression, **optimizer)


@pytest.mark.parametrize("vocabulary", [500, 7])
@pytest.mark.parametrize(
    "optimizer", [{}, {"kind": "SparseAdam", "lr": 0.01}, {"kind": "Adagrad", "lr": 0.05}]
)
def test_sparse_embeddings(torch_ranks, vocabulary, optimizer):
    rows = columns()
    data = Data.of({**rows, "u": rows["u"] % vocabulary}, (50, 53), features=("x", "u"))
    if optimizer.get("kind") == "SparseAdam":
        model = lambda: Table(vocabulary)  # noqa: E731
        step = lambda made, b: F.mse_loss(made(b["u"]), b["y"])  # noqa: E731
        data = Data.of({**rows, "u": rows["u"] % vocabulary}, (50, 53), features=("u",))
    else:
        model = lambda: Embedded(True, vocabulary)  # noqa: E731
        step = regression
    check(torch_ranks, model, data, step, **optimizer)


class Table(nn.Module):
    """A table alone; sparse gradients only."""

    def __init__(self, vocabulary):
        super().__init__()
        self.table = nn.Embedding(vocabulary, 3, sparse=True)

    def forward(self, u):
        return self.table(u).sum(1)


@pytest.mark.parametrize("counts", [(100, 3), (2, 0, 1), (60, 0, 43)])
def test_steps_without_rows_of_some_rank(torch_ranks, counts):
    data = Data.of(columns(sum(counts)), counts, features=("x", "u"))
    ran = check(torch_ranks, Embedded, data, regression, **ADAM)
    assert np.isfinite(ran[0].trained.history["loss"]).all()


def test_loss_that_is_a_sum(torch_ranks):
    data = Data.of(columns(), (30, 40, 33), features=("x", "u"))
    step = lambda m, b: F.mse_loss(m(b["x"], b["u"]), b["y"], reduction="sum")  # noqa: E731
    loss = lambda config: nn.MSELoss(reduction="sum")  # noqa: E731
    ran = check(torch_ranks, Embedded, data, step, loss=loss, lr=0.001)
    assert ran[0].trained.history["loss"][0] > 20


@pytest.mark.parametrize("loss", [nn.MSELoss(), F.mse_loss])
def test_sample_weights(torch_ranks, loss):
    data = Data.of(columns(), (50, 53), features=("x", "u"), weight="w")

    def step(model, batch):
        return (batch["w"] * (model(batch["x"], batch["u"]) - batch["y"]) ** 2).mean()

    check(torch_ranks, Embedded, data, step, loss=loss)


def classes(model, batch, **more):
    return F.cross_entropy(model(batch["x"]), batch["label"].long(), **more)


def test_classes(torch_ranks):
    data = Data.of(columns(), (30, 40, 33), features=("x",), labels=("label",))
    check(torch_ranks, Classifier, data, classes, loss=F.cross_entropy)


@pytest.mark.parametrize("ignored", [None, -100])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.2, 1.0, 3.0])])
def test_classes_that_are_floats(torch_ranks, weight, ignored):
    """As StringIndexer makes them: doubles that are whole numbers."""
    rows = columns()
    if ignored is not None:
        rows["label"][::5] = ignored
    data = Data.of(
        {**rows, "label": rows["label"].astype(np.float32)},
        (30, 40, 33),
        features=("x",),
        labels=("label",),
    )
    step = lambda model, batch: classes(model, batch, weight=weight)  # noqa: E731
    check(torch_ranks, Classifier, data, step, loss=nn.CrossEntropyLoss(weight=weight))


def test_classes_that_are_booleans_have_weights(torch_ranks):
    rows = columns()
    data = Data.of(
        {**rows, "label": rows["flag"].astype(bool)},
        (30, 40, 33),
        features=("x",),
        labels=("label",),
    )
    weight = torch.tensor([0.2, 1.0, 3.0])
    step = lambda model, batch: classes(model, batch, weight=weight)  # noqa: E731
    check(torch_ranks, Classifier, data, step, loss=nn.CrossEntropyLoss(weight=weight))


def test_labels_that_are_probabilities_of_classes(torch_ranks):
    rows = columns()
    chances = np.random.default_rng(2).dirichlet([1, 1, 1], 103).astype(np.float32)
    data = Data.of({**rows, "label": chances}, (30, 40, 33), features=("x",), labels=("label",))
    step = lambda model, batch: F.cross_entropy(model(batch["x"]), batch["label"])  # noqa: E731
    check(torch_ranks, Classifier, data, step, loss=nn.CrossEntropyLoss)


def test_class_weights_and_ignored_labels_divide_by_what_all_ranks_count(torch_ranks):
    rows = columns()
    rows["label"][::5] = -100
    data = Data.of(rows, (30, 40, 33), features=("x",), labels=("label",))
    check(torch_ranks, Classifier, data, classes, loss=nn.CrossEntropyLoss)
    weight = torch.tensor([0.2, 1.0, 3.0])
    check(
        torch_ranks,
        Classifier,
        data,
        lambda model, batch: classes(model, batch, weight=weight),
        loss=nn.CrossEntropyLoss(weight=weight),
    )


def test_integer_labels_of_the_outputs_shape_are_cast(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"), labels=("flag",))

    def step(model, batch):
        output = model(batch["x"], batch["u"])
        return F.binary_cross_entropy_with_logits(output, batch["flag"].float())

    check(torch_ranks, Embedded, data, step, loss=nn.BCEWithLogitsLoss)


class Odd(nn.Module):
    """A frozen parameter, one that nobody uses, one that rows with flags alone use, one shared."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.unused = nn.Linear(4, 4)
        self.some = nn.Linear(4, 1)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x, flag):
        hidden = self.second(torch.tanh(self.first(self.frozen(x))))
        output = hidden.sum(1)
        if flag.any():
            output = output + flag * self.some(x).squeeze(-1)
        return output


def test_frozen_unused_partly_used_and_shared_parameters(torch_ranks):
    rows = columns()
    # All of the rows with a flag are on rank 1.
    rows["flag"] = (np.arange(103) > 80).astype(np.int32)
    data = Data.of(rows, (50, 53), features=("x", "flag"))
    step = lambda m, b: F.mse_loss(m(b["x"], b["flag"]), b["y"])  # noqa: E731
    # With decay, a parameter that got zeros for a gradient would move.
    check(torch_ranks, Odd, data, step, **MOMENTUM)


def test_gradient_accumulation_is_a_larger_batch(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    fields = {"framework": "torch", "epochs": 2}
    large = train(torch_ranks, of(Embedded), data, batch_size=60, **fields)
    for shape in (data, data.merged()):
        found = train(
            torch_ranks,
            of(Embedded),
            shape,
            batch_size=20,
            options={"gradient_accumulation": 3},
            **fields,
        )
        if shape is data:
            close(found[0].weights(), large[0].weights())
        assert found[0].trained.state.meta["step"] == 12


@pytest.mark.parametrize("sparse", [False, True])
def test_clipping_is_of_the_global_gradient(torch_ranks, sparse):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    ran = train(
        torch_ranks,
        of(lambda: Embedded(sparse)),
        data,
        batch_size=BATCH,
        framework="torch",
        options={"clip_grad_norm": 0.1},
    )
    same_on_all(ran)

    def clipped():
        from zoo.orca.frameworks.torch.models import seed_all

        seed_all(7)
        model = Embedded()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for batch in data.batches(BATCH, 6):
            optimizer.zero_grad()
            regression(model, {n: torch.from_numpy(v) for n, v in batch.items()}).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        return {f"weights/{name}": value.numpy() for name, value in model.state_dict().items()}

    close(ran[0].weights(), torch_ranks.alone(clipped))


@pytest.mark.parametrize("counts", [(50, 53), (90, 5, 8)])
def test_synchronised_batch_normalisation(torch_ranks, counts):
    data = Data.of(columns(), counts, features=("x",))
    step = lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"])  # noqa: E731
    check(torch_ranks, Normalised, data, step, parts={"sync_batch_norm": True})


def test_single_rows_are_normalised_by_the_global_batch(torch_ranks):
    data = Data.of(columns(42), (21, 21), features=("x",))
    ran = train(torch_ranks, of(Normalised), data, batch_size=3, framework="torch")
    same_on_all(ran)
    step = lambda model, batch: F.mse_loss(model(batch["x"]), batch["y"])  # noqa: E731
    expected = torch_ranks.alone(plain, Normalised, data.batches(3, 14), step)
    close(ran[0].weights(), expected)
    # One row in all: nothing to normalise by, and nothing to fail for.
    alone = Data.of(columns(41), (41,), features=("x",))
    ran = train(torch_ranks, of(Normalised), alone, batch_size=20, framework="torch")
    assert np.isfinite(ran[0].trained.history["loss"][0])


class TwoOutputs(nn.Module):
    """Two inputs by keyword, two outputs."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 5)
        self.first, self.second = nn.Linear(5, 1), nn.Linear(5, 1)

    def forward(self, *, a, b):
        hidden = torch.tanh(self.hidden(torch.cat([a, b[:, None]], 1)))
        return self.first(hidden).squeeze(-1), self.second(hidden).squeeze(-1)


def both(output, target):
    return F.mse_loss(output[0], target[0]) + 0.5 * F.binary_cross_entropy_with_logits(
        output[1], target[1].float()
    )


def test_inputs_by_name_and_several_outputs(torch_ranks):
    data = Data.of(columns(), (50, 53), features={"b": "w", "a": "x"}, labels=("y", "flag"))
    step = lambda m, b: both(m(a=b["x"], b=b["w"]), (b["y"], b["flag"]))  # noqa: E731
    ran = check(torch_ranks, TwoOutputs, data, step, loss=both)
    assert [(one.name, one.rank) for one in ran[0].trained.outputs] == [
        ("output_0", 1),
        ("output_1", 1),
    ]


class OneOfSeveral(Embedded):
    def forward(self, x, u):
        score = super().forward(x, u)
        return {"other": -score, "score": score}


class ClassesByName(Classifier):
    def forward(self, x):
        return {"kind": super().forward(x)}


@pytest.mark.parametrize(
    ("named", "plain", "features", "label", "loss", "metric", "more"),
    [
        (OneOfSeveral, Embedded, ("x", "u"), "y", nn.MSELoss(), orca.MAE(), {"weight": "w"}),
        (
            ClassesByName,
            Classifier,
            ("x",),
            "label",
            nn.CrossEntropyLoss(ignore_index=2),
            orca.Accuracy(),
            {},
        ),
    ],
)
def test_a_label_by_name_is_that_of_the_output_of_its_name(
    torch_ranks, named, plain, features, label, loss, metric, more
):
    fields = {"batch_size": BATCH, "framework": "torch"}
    parts = {"loss": loss, "metrics": [metric]}
    key = "score" if named is OneOfSeveral else "kind"
    found = []
    for model, labels in ((plain, (label,)), (named, {key: label})):
        data = Data.of(columns(), (50, 53), features=features, labels=labels, **more)
        ran = train(torch_ranks, of(model, **parts), data, validation=data, epochs=2, **fields)
        same_on_all(ran)
        found.append((ran[0].trained.history, ran[0].weights()))
    (history, weights), (by_name, weights_by_name) = found
    assert by_name == history and "val_loss" in history
    for name, value in weights.items():
        np.testing.assert_array_equal(weights_by_name[name], value)


def test_half_precision(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    fields = {"batch_size": BATCH, "framework": "torch", "epochs": 3}
    half = train(torch_ranks, of(Embedded), data, options={"bf16": True}, **fields)
    full = train(torch_ranks, of(Embedded), data, **fields)
    same_on_all(half)
    assert all(value.dtype == np.float32 for value in half[0].weights().values())
    assert half[0].trained.history != full[0].trained.history
    np.testing.assert_allclose(
        half[0].trained.history["loss"], full[0].trained.history["loss"], rtol=0.05
    )
