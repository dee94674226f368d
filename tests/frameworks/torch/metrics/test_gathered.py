"""Metrics of training are those of the steps' own outputs, over all workers."""

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, same_on_all, train
from tests.frameworks.torch.test_equal import columns
from tests.frameworks.torch_models import Classifier, Embedded, of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.metrics.gathered import Gathered
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn import metrics as orca
from zoo.orca.wire.messages.progress import EpochEnded, Warned
from zoo.orca.worker.collective.protocol import Alone

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
COUNTS = [(103,), (50, 53), (90, 0, 13)]
each_counts = pytest.mark.parametrize("counts", COUNTS)


def classes_of(counts):
    return Data.of(columns(), counts, features=("x",), labels=("label",))


def classifier(**parts):
    given = {"loss": nn.CrossEntropyLoss, "metrics": [orca.Accuracy()], **parts}
    return of(Classifier, **given)


def plain(batches, steps):
    """Accuracy and macro F1 of each epoch of a hand-written loop, of outputs before updates."""
    from zoo.orca.frameworks.torch.models import seed_all

    seed_all(7)
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    found = []
    f1 = torchmetrics.classification.MulticlassF1Score(3)
    for first in range(0, len(batches), steps):
        right, rows = 0, 0
        for batch in batches[first : first + steps]:
            x, label = (torch.from_numpy(batch[name]) for name in ("x", "label"))
            output = model(x)
            right += int((output.argmax(1) == label).sum())
            rows += len(x)
            f1.update(output, label)
            optimizer.zero_grad()
            F.cross_entropy(output, label.long()).backward()
            optimizer.step()
        found.append((right / rows, float(f1.compute())))
        f1.reset()
    return found


@each_counts
def test_they_are_those_of_a_plain_loop(torch_ranks, counts):
    data = classes_of(counts)
    metrics = [orca.Accuracy(), torchmetrics.classification.MulticlassF1Score(3)]
    ran = train(torch_ranks, classifier(lr=0.3, metrics=metrics), data, epochs=3, **TORCH)
    same_on_all(ran)
    history = ran[0].trained.history
    expected = torch_ranks.alone(plain, data.batches(20, 18), 6)
    np.testing.assert_allclose(history["Accuracy"], [one for one, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(
        history["MulticlassF1Score"], [one for _, one in expected], rtol=1e-5
    )
    assert list(history) == ["loss", "Accuracy", "MulticlassF1Score", "num_samples"]
    shown = [one for one in ran[0].progress if isinstance(one, EpochEnded)][-1].logs
    assert shown["Accuracy"] == history["Accuracy"][-1]


@each_counts
@pytest.mark.parametrize("batch_size", [1, 20])
def test_without_learning_they_equal_those_of_validation(torch_ranks, counts, batch_size):
    data = classes_of(counts)
    metrics = [orca.Accuracy(), orca.F1Score(average="macro"), orca.SparseCategoricalCrossEntropy()]
    fields = {"framework": "torch", "batch_size": batch_size}
    ran = train(torch_ranks, classifier(lr=0.0, metrics=metrics), data, validation=data, **fields)
    history = ran[0].trained.history
    for name in ("loss", "Accuracy", "F1Score", "SparseCategoricalCrossEntropy"):
        assert history[name] == pytest.approx(history[f"val_{name}"], rel=1e-5), name


class OwnForward(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        *features, target = batch
        output = self.model(*features)
        return output, target, self.criterion(output, target)


class CallsForward(TrainingOperator):
    def train_batch(self, batch, batch_info):
        _, _, loss = self.forward_batch(batch, batch_info)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train_loss": loss}


class Hidden(TrainingOperator):
    def train_batch(self, batch, batch_info):
        *features, target = batch
        loss = self.criterion(self.model(*features), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train_loss": loss}


class Halves(Hidden):
    """Shows the outputs of half a step, on rank 1."""

    def train_batch(self, batch, batch_info):
        values = super().train_batch(batch, batch_info)
        rows = len(batch[0]) // (1 + self.world_rank)
        self.forward_batch([part[:rows] for part in batch], batch_info)
        return values


class Forward(MainCallback):
    def on_iter_forward(self, runner):
        runner.output = runner.model(*runner.batch.features)
        runner.loss = runner.criterion(runner.output, runner.batch.target)


class Silent(MainCallback):
    def on_iter_forward(self, runner):
        runner.loss = runner.criterion(runner.model(*runner.batch.features), runner.batch.target)


@pytest.mark.parametrize("counts", [(103,), (50, 53), (100, 3)])
@pytest.mark.parametrize("own", [OwnForward, CallsForward, MainCallback, Forward])
def test_hooks_that_show_outputs_have_them(torch_ranks, counts, own):
    data = classes_of(counts)
    default = train(torch_ranks, classifier(), data, epochs=2, **TORCH)
    if issubclass(own, MainCallback):
        ran = train(torch_ranks, classifier(), data, epochs=2, callbacks=[own()], **TORCH)
    else:
        ran = train(torch_ranks, classifier(training_operator_cls=own), data, epochs=2, **TORCH)
    same_on_all(ran)
    expected = default[0].trained.history["Accuracy"]
    assert ran[0].trained.history["Accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("own", [Hidden, Halves, Silent])
def test_hooks_that_hide_outputs_are_named_once(torch_ranks, own):
    data = classes_of((50, 53))
    names, fields = {"loss", "num_samples"}, {"validation": data}
    if own is Silent:
        parts, fields = {}, {"callbacks": [Silent()]}
    else:
        parts, names = {"training_operator_cls": own}, names | {"val_loss", "val_Accuracy"}
    ran = train(torch_ranks, classifier(**parts), data, epochs=2, **fields, **TORCH)
    same_on_all(ran)
    assert set(ran[0].trained.history) == names
    (told,) = [one.text for one in ran[0].progress if isinstance(one, Warned)]
    assert own.__name__ in told and ("forward_batch" in told or "runner.output" in told)


def test_what_keeps_every_row_is_left_to_validation(torch_ranks):
    rows = columns()
    data = Data.of(rows, (50, 53), features=("x", "u"), labels=("flag",))
    given = of(Embedded, loss=nn.BCEWithLogitsLoss, metrics=[orca.AUC(), orca.AUROC()])

    def fit(**options):
        ran = train(torch_ranks, given, data, validation=data, options=options, **TORCH)
        same_on_all(ran)
        told = [one.text for one in ran[0].progress if isinstance(one, Warned)]
        return set(ran[0].trained.history) - {"num_samples"}, told

    validation = {"val_loss", "val_AUC", "val_AUROC"}
    names, told = fit()
    assert names == {"loss", "AUC", *validation}
    assert len(told) == 1 and told[0].startswith("AUROC") and "training_metrics=True" in told[0]
    assert fit(training_metrics=True) == ({"loss", "AUC", "AUROC", *validation}, [])
    assert fit(training_metrics=False) == ({"loss", *validation}, [])


class Reusing(Classifier):
    """Writes its outputs to the same place each time."""

    def __init__(self):
        super().__init__()
        self.register_buffer("place", torch.zeros(20, 3))

    def forward(self, x):
        output = super().forward(x)
        with torch.no_grad():
            self.place[: len(x)] = output
        return self.place[: len(x)] + (output - output.detach())


def test_outputs_that_are_overwritten_count_as_they_were(torch_ranks):
    data = classes_of((103,))
    given = {"loss": nn.CrossEntropyLoss, "metrics": [orca.Accuracy()]}
    found = [
        train(torch_ranks, of(model, lr=0.3, **given), data, epochs=2, **TORCH)[0]
        for model in (Classifier, Reusing)
    ]
    assert found[0].trained.history["Accuracy"] == found[1].trained.history["Accuracy"]


def test_a_metric_that_cannot_be_computed_is_named(torch_ranks):
    def picky(output, target):
        raise RuntimeError("no such axis")

    data = classes_of((50, 53))
    with pytest.raises(Failed) as caught:
        train(torch_ranks, classifier(metrics=picky), data, **TORCH)
    assert caught.value.kind is ModelError
    first, second = caught.value.message.split("\n")
    assert "the metric picky" in first and "no such axis" in first
    assert second.startswith("fit(training_metrics=False)")
    fields = {"options": {"training_metrics": False}, **TORCH}
    train(torch_ranks, classifier(metrics=picky), data, **fields)


class Recorder:
    """Looks like a metric; keeps what it is given."""

    def __init__(self):
        self.seen = []

    def update(self, output, target):
        self.seen.append((output, target))


def test_steps_are_handed_on_together_and_bounded():
    recorder = Recorder()
    gathered = Gathered({"one": recorder}, Alone(), training=True)
    pairs = [(torch.rand(5, 3), torch.arange(5)) for _ in range(130)]
    for output, target in pairs:
        gathered.add(output, target, 5)
    assert [len(output) for output, _ in recorder.seen] == [320, 320]
    gathered.flush()
    seen = [torch.cat([part[k] for part in recorder.seen]) for k in (0, 1)]
    assert torch.equal(seen[0], torch.cat([output for output, _ in pairs]))
    assert torch.equal(seen[1], torch.cat([target for _, target in pairs]))
    # Half a megabyte each: no more than four are kept. Larger ones are not kept at all.
    recorder.seen.clear()
    for _ in range(9):
        gathered.add(torch.rand(128, 1024), torch.arange(128), 128)
    assert [len(output) for output, _ in recorder.seen] == [8 * 128]
    gathered.add(torch.rand(3000, 128), torch.arange(3000), 3000)
    assert [len(output) for output, _ in recorder.seen] == [8 * 128, 128, 3000]


def test_steps_that_do_not_go_together_are_handed_on_alone():
    recorder = Recorder()
    gathered = Gathered({"one": recorder}, Alone(), training=True)
    both = (torch.rand(4, 2), {"a": torch.rand(4), "b": None})
    gathered.add(both, torch.arange(4), 4)
    gathered.add(both, torch.arange(4), 4)
    gathered.add((torch.rand(4, 3), both[1]), torch.arange(4), 4)
    gathered.add((torch.rand(4, 3), torch.rand(2, 4)), torch.arange(4), 4)  # not by rows
    gathered.add(torch.tensor(0.5), torch.arange(4), 4)
    assert [len(target) for _, target in recorder.seen] == [8, 4, 4, 4]
    output, _ = recorder.seen[0]
    assert output[0].shape == (8, 2) and output[1]["a"].shape == (8,) and output[1]["b"] is None
