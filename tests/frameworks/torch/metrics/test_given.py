"""Evaluation over several workers equals that over all rows at once."""

import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, evaluate, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Classifier, Embedded, of
from zoo.orca.learn import metrics as orca

pytestmark = pytest.mark.timeout(300)

COUNTS = [(103,), (50, 53), (90, 0, 13)]
each_counts = pytest.mark.parametrize("counts", COUNTS)


class Probabilities(nn.Module):
    """Of two classes."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return torch.sigmoid(self.out(x)).squeeze(-1)


def expected(model, rows, compute):
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    made = model().eval()
    with torch.no_grad():
        return compute(made, {name: torch.from_numpy(value) for name, value in rows.items()})


def check(ranks, model, data, rows, compute, **parts):
    found = evaluate(ranks, of(model, **parts), data, batch_size=20, framework="torch")
    assert all(one == found[0] for one in found)
    right = ranks.alone(expected, model, rows, compute)
    assert list(found[0]) == list(right)
    for name, value in right.items():
        assert found[0][name] == pytest.approx(value, rel=2e-5, abs=1e-6), name


@each_counts
def test_classes(torch_ranks, counts):
    rows = columns()
    data = Data.of(rows, counts, features=("x",), labels=("label",))

    def compute(model, batch):
        output, label = model(batch["x"]), batch["label"].long()
        right = output.argmax(1) == label
        f1 = torchmetrics.classification.MulticlassF1Score(3)
        return {
            "loss": float(F.cross_entropy(output, label)),
            "Accuracy": float(right.double().mean()),
            "Top5Accuracy": 1.0,
            "SparseCategoricalCrossEntropy": float(F.cross_entropy(output, label)),
            "MulticlassF1Score": float(f1(output, label)),
        }

    check(
        torch_ranks,
        Classifier,
        data,
        rows,
        compute,
        loss=nn.CrossEntropyLoss,
        metrics=[
            orca.Accuracy(),
            orca.Top5Accuracy(),
            orca.SparseCategoricalCrossEntropy(),
            torchmetrics.classification.MulticlassF1Score(3),
        ],
    )


@each_counts
def test_two_classes(torch_ranks, counts):
    rows = columns()
    data = Data.of(rows, counts, features=("x",), labels=("flag",))

    def compute(model, batch):
        output, label = model(batch["x"]), batch["flag"].long()
        area = torchmetrics.classification.BinaryAUROC()(output, label)
        near = torchmetrics.classification.BinaryAUROC(thresholds=200)(output, label)
        return {
            "loss": float(F.binary_cross_entropy(output, label.float())),
            "AUC": float(near),
            "AUROC": float(area),
            "BinaryAccuracy": float(((output > 0.5) == (label > 0)).double().mean()),
            "BinaryCrossEntropy": float(F.binary_cross_entropy(output, label.float())),
            "F1Score": float(torchmetrics.classification.BinaryF1Score()(output, label)),
        }

    names = ("AUC", "AUROC", "BinaryAccuracy", "BinaryCrossEntropy", "F1Score")
    given = [getattr(orca, name)() for name in names]
    check(torch_ranks, Probabilities, data, rows, compute, loss=nn.BCELoss, metrics=given)


@each_counts
def test_regression_and_torchmetrics_of_every_kind_of_state(torch_ranks, counts):
    rows = columns()
    data = Data.of(rows, counts, features=("x", "u"))

    def compute(model, batch):
        output, y = model(batch["x"], batch["u"]), batch["y"]
        return {
            "loss": float(F.mse_loss(output, y)),
            "mse": float(F.mse_loss(output, y)),
            "mae": float(F.l1_loss(output, y)),
            "r2": float(torchmetrics.R2Score()(output, y)),
            "pearson": float(torchmetrics.PearsonCorrCoef()(output, y)),
            "spearman": float(torchmetrics.SpearmanCorrCoef()(output, y)),
        }

    given = {
        "mse": orca.MSE(),
        "mae": orca.MAE,
        "r2": torchmetrics.R2Score(),
        "pearson": torchmetrics.PearsonCorrCoef,
        "spearman": torchmetrics.SpearmanCorrCoef,
    }
    check(torch_ranks, Embedded, data, rows, compute, metrics=given)


@each_counts
def test_weights_sums_and_ignored_labels(torch_ranks, counts):
    rows = columns()
    rows["label"][::5] = -100
    weight = torch.tensor([0.2, 1.0, 3.0])
    data = Data.of(rows, counts, features=("x",), labels=("label",))

    def classes(model, batch):
        loss = F.cross_entropy(model(batch["x"]), batch["label"].long(), weight)
        return {"loss": float(loss)}

    check(torch_ranks, Classifier, data, rows, classes, loss=nn.CrossEntropyLoss(weight=weight))
    data = Data.of(rows, counts, features=("x", "u"), weight="w")

    def weighted(model, batch):
        errors = (model(batch["x"], batch["u"]) - batch["y"]) ** 2
        return {"loss": float((errors * batch["w"]).mean())}

    check(torch_ranks, Embedded, data, rows, weighted)


def test_first_steps_only(torch_ranks):
    rows = columns()
    data = Data.of(rows, (50, 53), features=("x", "u"))
    fields = {"batch_size": 20, "framework": "torch"}
    some = evaluate(torch_ranks, of(Embedded), data, steps=2, **fields)[0]
    all_rows = evaluate(torch_ranks, of(Embedded), data, **fields)[0]
    assert some != all_rows


def test_validation_equals_evaluation(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    recipe = of(Embedded, metrics=lambda config: [torchmetrics.MeanAbsoluteError()])
    fields = {"batch_size": 20, "framework": "torch"}
    ran = train(torch_ranks, recipe, data, validation=data, epochs=2, **fields)
    state = ran[0].trained.state
    found = evaluate(torch_ranks, recipe, data, state=state, **fields)[0]
    assert list(found) == ["loss", "MeanAbsoluteError"]
    for name, value in found.items():
        assert ran[0].trained.history[f"val_{name}"][-1] == pytest.approx(value, rel=1e-6)


def test_metrics_describe_themselves():
    assert repr(orca.AUC(100)) == "AUC(threshold_num=100)"
    described = [getattr(orca, name) for name in orca.__all__]
    described = [one for one in described if one not in (orca.Metric, orca.CustomizedMetric)]
    from zoo.orca.frameworks.torch.metrics.inputs import Outputs
    from zoo.orca.frameworks.torch.metrics.orca_metrics import make

    for kind in described:
        metric = make(kind().orca_metric, kind().arguments, Outputs())
        assert isinstance(metric, torchmetrics.Metric)
