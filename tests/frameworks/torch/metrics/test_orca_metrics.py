"""Each of Orca's metrics against values computed by hand, for each form of outputs and labels."""

import math
import pickle

import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, evaluate, same_on_all, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Classifier, Embedded, of
from zoo.orca.errors import InvalidInputError, ModelError
from zoo.orca.frameworks.torch.metrics.given import metrics_of
from zoo.orca.frameworks.torch.metrics.inputs import outputs_for
from zoo.orca.frameworks.torch.metrics.orca_metrics import make
from zoo.orca.learn import metrics as orca

pytestmark = pytest.mark.timeout(300)

PROBABILITIES = [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]]
CLASSES = [0, 1, 0, 2]  # of which the third is called 1
ONE_HOT = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
CHANCES, TWO = [0.9, 0.4, 0.6, 0.2], [1, 1, 0, 0]
CALLED, TRUE = [0, 2, 3, 4], [1, 1, 2, 4]
#: scikit-learn's example of several classes.
MANY_CALLED, MANY_TRUE = [0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2]
SMALL = 1e-7


def value_of(metric, output, target, loss=None, cut=None):
    """The value over one batch; over two, if `cut` says where the first one ends."""
    made = make(metric.orca_metric, metric.arguments, outputs_for(loss))
    output, target = torch.as_tensor(output), torch.as_tensor(target)
    for part in (slice(None),) if cut is None else (slice(cut), slice(cut, None)):
        made.update(output[part], target[part])
    return made.compute()


def column(values):
    return torch.as_tensor(values)[:, None]


def logit(values):
    return torch.as_tensor(values, dtype=torch.float64).logit()


def log(values):
    return torch.as_tensor(values, dtype=torch.float64).log()


#: Probabilities of classes in each form, with the loss that says so.
FORMS = [
    (PROBABILITIES, None),
    (log(PROBABILITIES) + 3.0, nn.CrossEntropyLoss()),  # logits: whatever is added
    (log(PROBABILITIES), nn.NLLLoss()),
]
LABELS = [
    CLASSES,
    column(CLASSES),
    torch.tensor(CLASSES).float(),
    torch.tensor(CLASSES, dtype=torch.int32),
]
#: Of two classes.
TWO_FORMS = [(CHANCES, None), (column(CHANCES), None), (logit(CHANCES), nn.BCEWithLogitsLoss())]
TWO_FORMS += [(column(logit(CHANCES)), F.binary_cross_entropy_with_logits)]
PAIRS = torch.stack([1 - torch.tensor(CHANCES), torch.tensor(CHANCES)], 1)
TWO_FORMS += [(PAIRS, None), (PAIRS.log() - 2, nn.CrossEntropyLoss()), (PAIRS.log(), nn.NLLLoss())]
TWO_LABELS = [TWO, column(TWO), torch.tensor(TWO).float(), torch.tensor(TWO).bool()]

of_classes = pytest.mark.parametrize(("output", "loss"), FORMS)
of_two = pytest.mark.parametrize(("output", "loss"), TWO_FORMS)
each_label = pytest.mark.parametrize("target", LABELS)
each_two = pytest.mark.parametrize("target", TWO_LABELS)
each_cut = pytest.mark.parametrize("cut", [None, 1, 3])


@each_cut
@of_classes
@each_label
def test_numbers_of_classes(output, loss, target, cut):
    entropy = -(math.log(0.7) + math.log(0.5) + math.log(0.3) + math.log(0.7)) / 4
    expected = {
        orca.Accuracy(): 3 / 4,
        orca.SparseCategoricalAccuracy(): 3 / 4,
        orca.CategoricalAccuracy(): 3 / 4,
        orca.Top5Accuracy(): 1.0,
        orca.SparseCategoricalCrossEntropy(): entropy,
        orca.CategoricalCrossEntropy(): entropy,
        orca.Precision(): 3 / 4,
        orca.Recall(average="macro"): (1 / 2 + 1 + 1) / 3,
        orca.Precision(average="macro"): (1 + 1 / 2 + 1) / 3,
        orca.F1Score(average="weighted"): (2 * 2 / 3 + 2 / 3 + 1) / 4,
    }
    for metric, value in expected.items():
        found = value_of(metric, output, target, loss, cut)
        assert float(found) == pytest.approx(value, rel=1e-6), metric


@each_cut
@of_classes
@pytest.mark.parametrize("target", [ONE_HOT, torch.tensor(ONE_HOT).float()])
def test_one_hot_labels(output, loss, target, cut):
    entropy = -(math.log(0.7) + math.log(0.5) + math.log(0.3) + math.log(0.7)) / 4
    clamped = torch.tensor(ONE_HOT).double().clamp(SMALL, 1)
    divergence = (clamped * (clamped / torch.tensor(PROBABILITIES).double()).log()).sum(1).mean()
    expected = {
        orca.Accuracy(): 3 / 4,
        orca.CategoricalAccuracy(): 3 / 4,
        orca.CategoricalCrossEntropy(): entropy,
        orca.F1Score(): 3 / 4,
        orca.KLDivergence(): float(divergence),
    }
    for metric, value in expected.items():
        found = value_of(metric, output, target, loss, cut)
        assert float(found) == pytest.approx(value, rel=1e-5), metric


def test_labels_that_are_probabilities():
    target = [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6], [0.0, 0.0, 1.0]]
    entropy = -(torch.tensor(target).double() * log(PROBABILITIES)).sum(1).mean()
    for output, loss in FORMS:
        found = value_of(orca.CategoricalCrossEntropy(), output, target, loss)
        assert float(found) == pytest.approx(float(entropy), rel=1e-6)
        assert float(value_of(orca.CategoricalAccuracy(), output, target, loss)) == 3 / 4


@each_cut
@of_two
@each_two
def test_two_classes(output, loss, target, cut):
    """Called 1, 0, 1, 0 of 1, 1, 0, 0; of the four pairs three are in order."""
    expected = {
        orca.Accuracy(): 1 / 2,
        orca.BinaryAccuracy(): 1 / 2,
        orca.BinaryAccuracy(0.7): 3 / 4,
        orca.Precision(): 1 / 2,
        orca.Recall(): 1 / 2,
        orca.F1Score(): 1 / 2,
        orca.AUROC(): 3 / 4,
        orca.AUC(): 3 / 4,
        orca.Precision(average="micro"): 1 / 2,
    }
    for metric, value in expected.items():
        assert float(value_of(metric, output, target, loss, cut)) == pytest.approx(value), metric
    if torch.as_tensor(output).shape[1:] != (2,):
        entropy = -(math.log(0.9) + math.log(0.4) + math.log(0.4) + math.log(0.8)) / 4
        found = value_of(orca.BinaryCrossEntropy(), output, target, loss, cut)
        assert float(found) == pytest.approx(entropy, rel=1e-6)


@each_cut
@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.float32])
@pytest.mark.parametrize("labels", [torch.int64, torch.float32])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2)])
def test_outputs_that_are_classes_themselves(kind, labels, shape, cut):
    if kind == torch.float32 and shape == (2, 2):
        pytest.skip("floats of two axes are scores of classes")
    output = torch.tensor(CALLED, dtype=kind).reshape(shape)
    target = torch.tensor(TRUE, dtype=labels).reshape(shape)
    cut = cut if cut is None else 1
    assert float(value_of(orca.Accuracy(), output, target, cut=cut)) == 1 / 4
    assert float(value_of(orca.F1Score(), output, target, cut=cut)) == pytest.approx(1 / 4)
    found = value_of(orca.Recall(average="none"), output, target, cut=cut)
    assert found.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("kind", "given", "ways"),
    [
        (orca.AUC, {"threshold_num": 1}, ({"threshold_num": 200},)),
        (orca.AUC, {"threshold_num": 2.5}, ({"threshold_num": 200},)),
        (orca.F1Score, {"average": "mean"}, ({}, {"average": "macro"})),
    ],
)
def test_arguments_that_cannot_be_meant(kind, given, ways):
    with pytest.raises(InvalidInputError) as caught:
        kind(**given)
    first, second = str(caught.value).splitlines()
    assert next(iter(given)) in first and first.endswith(repr(*given.values()))
    for way in ways:
        kind(**way)
        assert all(f"{name}={value!r}" in second for name, value in way.items())


def test_averages_are_those_of_scikit_learn():
    """The values are those of its documentation's example."""

    def found(metric):
        return float(value_of(metric, MANY_CALLED, MANY_TRUE, cut=2))

    assert found(orca.F1Score()) == pytest.approx(1 / 3)
    assert found(orca.F1Score(average="micro")) == pytest.approx(1 / 3)
    assert found(orca.F1Score(average="macro")) == pytest.approx(0.8 / 3)
    assert found(orca.F1Score(average="weighted")) == pytest.approx(0.8 / 3)
    assert found(orca.Precision(average="macro")) == pytest.approx(2 / 9)
    assert found(orca.Recall(average="macro")) == pytest.approx(1 / 3)
    each = value_of(orca.F1Score(average="none"), MANY_CALLED, MANY_TRUE)
    assert each.tolist() == pytest.approx([0.8, 0.0, 0.0])
    # A class that does not occur is no part of a mean, as in scikit-learn.
    scores = torch.eye(5)[torch.tensor(MANY_CALLED)]
    assert float(value_of(orca.F1Score(average="macro"), scores, MANY_TRUE)) == pytest.approx(
        0.8 / 3
    )
    with pytest.raises(ModelError, match=r"average='binary'\) is of two classes, and there are 3"):
        found(orca.F1Score(average="binary"))


def test_averages_over_two_classes():
    """Called 1, 1, 0, 0, 1 of 1, 0, 0, 0, 0."""
    called, true = [1, 1, 0, 0, 1], [1, 0, 0, 0, 0]
    for output in (called, torch.eye(2)[torch.tensor(called)], torch.tensor(called) * 0.8 + 0.1):
        expected = {None: 1 / 3, "binary": 1 / 3, "micro": 3 / 5, "macro": 2 / 3}
        expected["weighted"] = (1 / 3 + 4) / 5
        for average, value in expected.items():
            found = value_of(orca.Precision(average=average), output, true)
            assert float(found) == pytest.approx(value), average
    assert float(value_of(orca.Precision(), [0, 0], [1, 0])) == 0.0
    assert float(value_of(orca.Recall(), [0, 1], [0, 0])) == 0.0


@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss()])
def test_classes_beyond_two_axes(loss):
    """The second axis for a loss over classes, the last one for others."""
    random = torch.Generator().manual_seed(0)
    raw = torch.randn(5, 3, 3, 4, generator=random)  # as many classes as rows of a picture
    label = torch.randint(0, 3, (5, 3, 4), generator=random)
    if loss is None:
        chances = raw.softmax(1)
        output, expected = chances.movedim(1, -1), chances
    else:
        output, expected = raw, raw
    right = (expected.argmax(1) == label).double().mean()
    entropy = F.cross_entropy(raw.double(), label)
    for metric in (orca.Accuracy(), orca.SparseCategoricalAccuracy(), orca.F1Score()):
        assert float(value_of(metric, output, label, loss)) == pytest.approx(float(right))
    found = value_of(orca.SparseCategoricalCrossEntropy(), output, label, loss)
    assert float(found) == pytest.approx(float(entropy), rel=1e-5)
    assert float(value_of(orca.Top5Accuracy(), output, label, loss)) == 1.0
    one_hot = F.one_hot(label, 3)
    one_hot = one_hot if loss is None else one_hot.movedim(-1, 1)
    assert float(value_of(orca.Accuracy(), output, one_hot, loss)) == pytest.approx(float(right))


def test_pictures_of_two_classes_are_compared_one_by_one():
    chances = torch.tensor([[[0.9, 0.2], [0.6, 0.8]], [[0.1, 0.7], [0.3, 0.4]]])
    label = torch.tensor([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
    assert float(value_of(orca.BinaryAccuracy(), chances, label)) == 6 / 8
    assert float(value_of(orca.AUROC(), chances, label)) == 14 / 16
    logits = logit(chances)
    assert float(value_of(orca.BinaryAccuracy(), logits, label, nn.BCEWithLogitsLoss())) == 6 / 8


def test_labels_that_the_loss_ignores():
    target = [0, 1, -100, 2]
    loss = nn.CrossEntropyLoss()
    output = log(PROBABILITIES)
    entropy = F.cross_entropy(output, torch.tensor(target))
    assert float(value_of(orca.Accuracy(), output, target, loss)) == 1.0
    assert float(value_of(orca.Top5Accuracy(), output, target, loss)) == 1.0
    assert float(value_of(orca.SparseCategoricalAccuracy(), output, target, loss)) == 1.0
    assert float(value_of(orca.F1Score(), output, target, loss)) == 1.0
    found = value_of(orca.SparseCategoricalCrossEntropy(), output, target, loss)
    assert float(found) == pytest.approx(float(entropy))
    some = nn.CrossEntropyLoss(ignore_index=0)
    assert float(value_of(orca.Accuracy(), output, CLASSES, some)) == 1.0


def test_labels_counted_from_one():
    metric = orca.Accuracy(zero_based_label=False)
    target = torch.tensor(CLASSES) + 1
    assert float(value_of(metric, PROBABILITIES, target)) == 3 / 4
    assert float(value_of(metric, PROBABILITIES, ONE_HOT)) == 3 / 4
    assert float(value_of(metric, CHANCES, TWO)) == 1 / 2
    assert float(value_of(metric, CALLED, TRUE)) == 1 / 4


def test_top_five_of_seven():
    scores = torch.tensor([[7, 6, 5, 4, 3, 2, 1.0], [7, 6, 5, 4, 3, 2, 1.0]])
    assert float(value_of(orca.Top5Accuracy(), scores, [4, 5])) == 1 / 2
    assert float(value_of(orca.Top5Accuracy(), scores, torch.eye(7)[[4, 5]])) == 1 / 2


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2)])
@pytest.mark.parametrize("kind", [torch.float32, torch.int64, torch.float64])
def test_errors(shape, kind):
    output = torch.tensor([1, 2, 3, 4], dtype=kind).reshape(shape)
    target = torch.tensor([1.0, 0.0, 3.5, 2.0]).reshape(shape)
    assert float(value_of(orca.MSE(), output, target)) == pytest.approx(8.25 / 4)
    assert float(value_of(orca.MAE(), output, target)) == pytest.approx(4.5 / 4)
    logs = [math.log(n + SMALL) for n in (1, 2, 3, 4)]
    poisson = (10 - (logs[0] + 3.5 * logs[2] + 2 * logs[3])) / 4
    assert float(value_of(orca.Poisson(), output, target)) == pytest.approx(poisson)
    flat = target.reshape(-1)
    if shape == (4, 1):
        assert float(value_of(orca.MAE(), output, flat)) == pytest.approx(4.5 / 4)
    if shape == (4,):
        assert float(value_of(orca.MAE(), output, flat[:, None])) == pytest.approx(4.5 / 4)


def test_whole_numbers_are_compared_as_such():
    large = 2**24 + 1
    assert float(value_of(orca.MAE(), [large], [large - 1])) == 1.0


def test_probabilities_of_zero_and_one_stay_finite():
    found = value_of(orca.BinaryCrossEntropy(), [0.0, 1.0], [1, 1])
    assert float(found) == pytest.approx(-math.log(SMALL) / 2, rel=1e-5)
    found = value_of(orca.SparseCategoricalCrossEntropy(), [[1.0, 0.0]], [1])
    assert float(found) == pytest.approx(-math.log(SMALL), rel=1e-5)
    found = value_of(orca.KLDivergence(), [[1.0, 0.0]], [[0.0, 1.0]])
    assert float(found) == pytest.approx(-math.log(SMALL), rel=1e-4)


def test_divergence_of_logarithms():
    found = value_of(orca.KLDivergence(), log(PROBABILITIES), PROBABILITIES, nn.KLDivLoss())
    assert float(found) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_areas_equal_those_of_torchmetrics(low):
    """Below 0 the outputs are no probabilities, and only their ranks count."""
    random = torch.Generator().manual_seed(0)
    score = (torch.rand(500, generator=random) * 40).round() / 40 + low
    label = (torch.rand(500, generator=random) < score).long()
    exact = torchmetrics.functional.classification.binary_auroc
    ranks = score.unique(return_inverse=True)[1] / 100
    found = value_of(orca.AUROC(), score, label, cut=7)
    assert float(found) == pytest.approx(float(exact(ranks, label)), rel=1e-6)
    if low == 0.0:
        inner = score.clamp(max=0.999)  # at 1 itself torchmetrics leaves the first corner out
        found = value_of(orca.AUC(50), inner, label, cut=7)
        assert float(found) == pytest.approx(float(exact(inner, label, thresholds=50)), rel=1e-6)


def test_logits_are_told_from_probabilities_by_the_loss_not_by_the_batch():
    """Rows whose logits all lie between 0 and 1 are not probabilities."""
    logits, label = torch.tensor([0.3, 0.4, -2.0, 3.0]), torch.tensor([1, 1, 0, 1])
    loss = nn.BCEWithLogitsLoss()
    for metric in (orca.Accuracy(), orca.F1Score(), orca.Precision(), orca.AUC(), orca.AUROC()):
        assert float(value_of(metric, logits, label, loss, cut=2)) == 1.0, metric
    far = torch.tensor([60.0, 61.0, 62.0])  # of which a probability would round to 1
    assert float(value_of(orca.AUROC(), far, [0, 1, 1], loss)) == 1.0
    pairs = torch.stack([-far / 2, far / 2], 1)
    assert float(value_of(orca.AUROC(), pairs, [0, 1, 1], nn.CrossEntropyLoss())) == 1.0


def test_areas_of_one_class_are_not_numbers():
    for metric in (orca.AUC(), orca.AUROC()):
        assert math.isnan(float(value_of(metric, CHANCES, [1, 1, 1, 1])))


WRONG = [
    # metric, outputs, labels, the cause
    (orca.Accuracy(), [0.3, 0.7], [1, 3], "there is the label 3"),
    (orca.Accuracy(), [0.3, 0.7], [0.5, 1.0], "there is 0.5"),
    (orca.Accuracy(), PROBABILITIES, [[1, 1, 0]] * 4, "do not add up to 1"),
    (orca.Accuracy(), PROBABILITIES, [1, 2, 0], "(4, 3) with labels of shape (3,)"),
    (orca.BinaryAccuracy(), CHANCES, [1, 2, 1, 2], "there is the label 2"),
    (orca.BinaryAccuracy(), PROBABILITIES, CLASSES, "the outputs have 3"),
    (orca.SparseCategoricalAccuracy(), CHANCES, TWO, "a score for each class"),
    (orca.Top5Accuracy(), CHANCES, TWO, "a score for each class"),
    (orca.SparseCategoricalCrossEntropy(), PROBABILITIES, [0, 1, 2, 3], "outside 0…2"),
    (orca.SparseCategoricalCrossEntropy(), [[2.0, -3.0]], [1], "go from -3 to 2"),
    (orca.CategoricalCrossEntropy(), [[2.0, -3.0]], [[0, 1]], "go from -3 to 2"),
    (orca.BinaryCrossEntropy(), [2.0, -3.0], [1, 0], "go from -3 to 2"),
    (orca.AUC(), [2.0, -3.0], [1, 0], "go from -3 to 2"),
    (orca.AUC(), PROBABILITIES, CLASSES, "MulticlassAUROC(num_classes=3)"),
    (orca.AUROC(), CHANCES, [0, 1, 2, 1], "there is the label 2"),
    (orca.KLDivergence(), CHANCES, CHANCES, "a score for each class"),
    (orca.KLDivergence(), PROBABILITIES, CLASSES, "on both sides"),
    (orca.MSE(), PROBABILITIES, CLASSES, "(4, 3) with labels of shape (4,)"),
    (orca.F1Score(), [0, 1], [0, -1], "the label -1 is no class"),
    (orca.Precision(), [0.3, 0.7], [1, 3], "there is the label 3"),
]


@pytest.mark.parametrize(("metric", "output", "target", "cause"), WRONG)
def test_what_a_metric_does_not_take_is_named(metric, output, target, cause):
    with pytest.raises(ModelError) as caught:
        value_of(metric, output, target)
    first, second = str(caught.value).split("\n")
    assert metric.orca_metric in first and second
    assert cause in str(caught.value)


def test_several_outputs_are_refused_with_the_way_out():
    made = make("MSE", {}, outputs_for(None))
    with pytest.raises(ModelError) as caught:
        made.update((torch.ones(2), torch.ones(2)), torch.ones(2))
    first, second = str(caught.value).split("\n")
    assert "the output is a tuple" in first and "metrics=[my_metric]" in second


def test_arguments_are_checked_on_the_driver():
    with pytest.raises(InvalidInputError, match="threshold_num"):
        orca.AUC(1)
    with pytest.raises(InvalidInputError, match="average must be one of"):
        orca.F1Score(average="mean")


def absolute(output, target):
    return (output - target).abs().mean()


def each_row(output, target):
    return (output - target).abs()


def made_of_config(config):
    return [orca.MAE(), absolute]


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_functions_of_output_and_label(torch_ranks, counts):
    data = Data.of(columns(), counts, features=("x", "u"))
    fields = {"batch_size": 20, "framework": "torch"}

    def found(metrics):
        return evaluate(torch_ranks, of(Embedded, metrics=metrics), data, **fields)[0]

    alone = found(absolute)
    assert set(alone) == {"loss", "absolute"}
    several = found([orca.MAE(), absolute, each_row, lambda output, target: 1.0])
    assert set(several) == {"loss", "MAE", "absolute", "each_row", "lambda"}
    for name in ("absolute", "each_row"):
        assert several[name] == pytest.approx(several["MAE"], rel=1e-6)
    assert several["lambda"] == 1.0
    assert set(found(made_of_config)) == {"loss", "MAE", "absolute"}
    assert found({"mine": absolute})["mine"] == pytest.approx(several["MAE"], rel=1e-6)
    with pytest.raises(Failed, match="functions of output and target"):
        found([lambda config: 1])
    assert not metrics_of(None, {}, "cpu")


@pytest.mark.parametrize("counts", [(103,), (90, 0, 13)])
def test_workers_may_have_seen_other_classes(torch_ranks, counts):
    """The highest class is on one worker alone; all workers' counts go together."""
    rows = columns()
    rows["label"][:] = 0
    rows["label"][:3], rows["label"][100:] = 1, 2
    data = Data.of(rows, counts, features=("x",), labels=("label",))
    given = [orca.F1Score(average="macro"), orca.Recall(average="none")]
    parts = {"loss": nn.CrossEntropyLoss, "metrics": given}
    ran = train(torch_ranks, of(Classifier, **parts), data, validation=data, **TORCH)
    same_on_all(ran)
    found = ran[0].trained.history
    assert {"val_F1Score", "val_Recall_0", "val_Recall_1", "val_Recall_2"} <= set(found)
    hand = evaluate(
        torch_ranks,
        of(Chosen, loss=nn.CrossEntropyLoss, metrics=chosen),
        data,
        **TORCH,
    )
    # All are called 0: of 97 right of 103.
    assert hand[0]["chosen"] == pytest.approx(97 / 103)
    named = evaluate(
        torch_ranks,
        of(Numbers, loss=numbers_loss, metrics=[orca.F1Score(average="none")]),
        data,
        **TORCH,
    )
    zero = 2 * 97 / (2 * 97 + 6)
    assert [named[0][f"F1Score_{k}"] for k in range(3)] == pytest.approx([zero, 0.0, 0.0])


TORCH = {"batch_size": 20, "framework": "torch"}


def chosen(output, target):
    return (output.argmax(1) == target).double()


class Chosen(Classifier):
    def forward(self, x):
        return super().forward(x) * 0 + torch.tensor([1.0, 0.0, 0.0])


class Numbers(Classifier):
    """Returns the numbers of classes, so that nothing says how many there are."""

    def forward(self, x):
        return (super().forward(x)[:, 0] * 0).long()


def numbers_loss(output, target):
    return (output - target).double().abs().mean()


def test_alone_in_this_process():
    """As the original's: called with batches, then asked; what it saw does not travel."""
    metric = orca.Accuracy()
    with pytest.raises(
        InvalidInputError, match=r"Accuracy\(zero_based_label=True\) has seen no batch"
    ):
        metric.compute()
    assert metric(torch.tensor(PROBABILITIES[:1]), torch.tensor(CLASSES[:1])) is None
    metric(torch.tensor(PROBABILITIES[1:]), torch.tensor(CLASSES[1:]))
    assert float(metric.compute()) == 0.75
    with pytest.raises(InvalidInputError, match="has seen no batch"):
        pickle.loads(pickle.dumps(metric)).compute()
    metric.reset()
    metric.update(torch.tensor(CHANCES), torch.tensor(TWO))
    assert float(metric.compute()) == 0.5


THRESHOLDS = 21


@pytest.mark.parametrize("cut", [None, 1])
@pytest.mark.parametrize(
    ("metric", "theirs"),
    [
        (orca.ROC, torchmetrics.classification.BinaryROC),
        (orca.PrecisionRecallCurve, torchmetrics.classification.BinaryPrecisionRecallCurve),
    ],
)
def test_curves_equal_those_of_torchmetrics(metric, theirs, cut):
    right = theirs(thresholds=THRESHOLDS)(torch.tensor(CHANCES), torch.tensor(TWO))
    found = value_of(metric(THRESHOLDS), CHANCES, TWO, cut=cut)
    for mine, other in zip(found, right, strict=True):
        torch.testing.assert_close(mine.float(), other.float(), equal_nan=True)
    alone = metric(THRESHOLDS)
    alone(torch.tensor(CHANCES), torch.tensor(TWO))
    for mine, other in zip(alone.compute(), right, strict=True):
        torch.testing.assert_close(mine.float(), other.float(), equal_nan=True)


def test_a_curve_has_at_least_two_thresholds():
    for metric in (orca.ROC, orca.PrecisionRecallCurve):
        with pytest.raises(InvalidInputError, match="threshold_num must be a whole number from 2"):
            metric(1)


def largest(output, target):
    return (output.argmax(1) == target).double()


def test_a_function_of_ones_own_has_its_name():
    metric = orca.CustomizedMetric(largest)
    made = metrics_of([metric], {}, torch.device("cpu"))
    assert list(made) == ["largest"]
    for one in (made["largest"], metric):
        one.update(torch.tensor(PROBABILITIES[:3]), torch.tensor(CLASSES[:3]))
        one.update(torch.tensor(PROBABILITIES[3:]), torch.tensor(CLASSES[3:]))
        assert float(one.compute()) == 0.75
    with pytest.raises(InvalidInputError, match="func must be a function, got str"):
        orca.CustomizedMetric("mean")


def test_curves_of_several_workers_and_none_in_a_history(torch_ranks):
    rows = columns(60)
    data = Data.of(rows, (31, 29), features=("x",), labels=("flag",))
    parts = {"loss": nn.BCEWithLogitsLoss(), "metrics": [orca.ROC(5)]}
    found = evaluate(torch_ranks, of(Scored, **parts), data, batch_size=20, framework="torch")
    assert found[0] == found[1]
    whole = Data.of(rows, (60,), features=("x",), labels=("flag",))
    alone = evaluate(torch_ranks, of(Scored, **parts), whole, batch_size=20, framework="torch")
    names = [f"ROC[{axis}][{k}]" for axis in ("fpr", "tpr", "thresholds") for k in range(5)]
    assert list(alone[0]) == ["loss", *names] and alone[0].keys() == found[0].keys()
    assert alone[0] == pytest.approx(found[0])
    ran = train(torch_ranks, of(Scored, **parts), data, **TORCH, validation=data)
    assert set(ran[0].trained.history) == {"loss", "val_loss", "num_samples"}


class Scored(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        return self.out(x).squeeze(-1)
