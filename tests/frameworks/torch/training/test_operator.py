"""Steps that the user's hooks run."""

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import (
    Data,
    Failed,
    evaluate,
    predict_job,
    predicted,
    same_on_all,
    train,
)
from tests.frameworks.torch.test_equal import ADAM, MOMENTUM, Odd, check, close, columns, regression
from tests.frameworks.torch_models import Embedded, Normalised, of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.training.callbacks import Callback, MainCallback
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.learn.pytorch.recipe import recipe

pytestmark = pytest.mark.timeout(300)

PAUSE = 0.02
TORCH = {"framework": "torch", "batch_size": 20}


class OwnBatch(TrainingOperator):
    """A step written out."""

    def setup(self, config):
        self.steps = torch.zeros(1)

    def train_batch(self, batch, batch_info):
        *features, target = batch
        loss = self.criterion(self.model(*features), target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return {"train_loss": loss.item(), "squares": (target**2).mean(), "num_samples": 1}

    def state_dict(self):
        return {"steps": self.steps, "note": {"rank": 0, "pair": (1, 2.5)}}

    def load_state_dict(self, state_dict):
        assert state_dict["note"] == {"rank": 0, "pair": (1, 2.5)}
        self.steps = state_dict["steps"]


class OwnForward(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        *features, target = batch
        output = self.model(*features)
        return output, target, F.mse_loss(output, target)


class OwnEpoch(TrainingOperator):
    def train_epoch(self, iterator, info):
        seen = 0.0
        for batch in iterator:
            self.train_batch(batch, {})
            seen += float(info["factor"])
        return {"train_seen": seen}


@pytest.mark.parametrize(
    ("counts", "optimizer"),
    [((103,), ADAM), ((50, 53), MOMENTUM), ((30, 40, 33), ADAM), ((100, 3), ADAM)],
)
@pytest.mark.parametrize("operator", [OwnBatch, OwnForward])
def test_hooks_take_the_same_steps(torch_ranks, counts, optimizer, operator):
    data = Data.of(columns(), counts, features=("x", "u"))
    parts = {"training_operator_cls": operator}
    ran = check(torch_ranks, Embedded, data, regression, parts=parts, **optimizer)
    plain = train(torch_ranks, of(Embedded, **optimizer), data, epochs=2, **TORCH)
    history = ran[0].trained.history
    np.testing.assert_allclose(history["loss"], plain[0].trained.history["loss"], rtol=1e-5)
    if operator is OwnBatch:
        assert history["squares"][0] == pytest.approx((columns()["y"] ** 2).mean(), rel=1e-5)


def test_hooks_with_sums_partly_used_parameters_and_synchronised_statistics(torch_ranks):
    parts = {"training_operator_cls": OwnBatch}
    rows = columns()
    rows["flag"] = (np.arange(103) > 80).astype(np.int32)
    data = Data.of(rows, (30, 40, 33), features=("x", "flag"))
    step = lambda m, b: F.mse_loss(m(b["x"], b["flag"]), b["y"])  # noqa: E731
    check(torch_ranks, Odd, data, step, parts=parts, **MOMENTUM)
    data = Data.of(rows, (60, 43), features=("x", "u"))
    total = lambda m, b: 20 * F.mse_loss(m(b["x"], b["u"]), b["y"], reduction="sum")  # noqa: E731
    loss = lambda config: nn.MSELoss(reduction="sum")  # noqa: E731
    summed = lambda m, b: total(m, b) / 20  # noqa: E731
    check(torch_ranks, Embedded, data, summed, loss=loss, lr=0.001, parts=parts)
    data = Data.of(rows, (90, 5, 8), features=("x",))
    normal = lambda m, b: F.mse_loss(m(b["x"]), b["y"])  # noqa: E731
    check(torch_ranks, Normalised, data, normal, parts={**parts, "sync_batch_norm": True})


def test_own_epoch_and_its_results(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    given = of(Embedded, training_operator_cls=OwnEpoch)
    ran = train(torch_ranks, given, data, options={"info": {"factor": 2}}, **TORCH)
    same_on_all(ran)
    assert ran[0].trained.history == {"seen": [12.0], "num_samples": [103]}


def test_info_may_hold_what_only_the_users_program_has(torch_ranks):
    class Factor:
        def __float__(self):
            return 2.0

    class OwnValidation(TrainingOperator):
        def validate(self, val_iterator, info, metrics):
            rows = sum(len(target) for *_, target in val_iterator)
            return {"factor": float(info["factor"]), "num_samples": rows}

    data = Data.of(columns(), (50, 53), features=("x", "u"))
    given = of(Embedded, training_operator_cls=OwnEpoch)
    options = {"info": {"factor": Factor()}}
    ran = train(torch_ranks, given, data, options=options, **TORCH)
    assert ran[0].trained.history == {"seen": [12.0], "num_samples": [103]}
    given = of(Embedded, training_operator_cls=OwnValidation)
    found = evaluate(torch_ranks, given, data, options=options, **TORCH)
    assert found[0]["factor"] == 2.0


def test_state_of_the_operator_comes_back(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    given = of(Embedded, training_operator_cls=OwnBatch)
    first = train(torch_ranks, given, data, **TORCH)
    second = train(torch_ranks, given, data, state=first[0].trained.state, initial_epoch=1, **TORCH)
    tensors = second[0].trained.state.tensors
    assert tensors["operator/steps"].tolist() == [12.0]


class Clipped(MainCallback):
    def on_iter_forward(self, runner):
        runner.output = runner.model(*runner.batch.features)
        runner.loss = 2 * F.mse_loss(runner.output, runner.batch.target)


def test_main_callback(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    step = lambda m, b: 2 * regression(m, b)  # noqa: E731
    check(torch_ranks, Embedded, data, step, tell={"callbacks": [Clipped()]}, **ADAM)


class LossSoFar(MainCallback):
    """The default forward pass; adds up the steps' losses over all ranks, by their rows."""

    def after_train_iter(self, runner):
        runner.config.setdefault("seen", []).append(runner.logs["loss"] * runner.batch.of / 103)

    def after_run(self, runner):
        runner.model.seen.fill_(sum(runner.config["seen"]))


class Watched(Embedded):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("counts", [(103,), (50, 53), (90, 5, 8)])
@pytest.mark.parametrize("tell", ["batch", "forward", "callback"])
def test_a_sum_is_reported_as_in_the_default_steps(torch_ranks, counts, tell):
    data = Data.of(columns(), counts, features=("x", "u"))
    common = {"validation": data, "epochs": 2, **TORCH, "options": {"reduce_results": False}}

    def fit(model=Embedded, callbacks=None, **parts):
        parts = {"lr": 0.001, "loss": lambda config: nn.MSELoss(reduction="sum"), **parts}
        ran = train(torch_ranks, of(model, **parts), data, callbacks=callbacks, **common)
        same_on_all(ran)
        return ran[0]

    default = fit().trained.history
    if tell == "callback":
        ran = fit(Watched, [LossSoFar()])
        assert ran.weights()["weights/seen"] == pytest.approx(sum(default["loss"]), rel=1e-5)
    else:
        ran = fit(training_operator_cls=OwnBatch if tell == "batch" else Summed)
    history = ran.trained.history
    assert set(default) <= set(history)
    for name, values in default.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


class Summed(TrainingOperator):
    def forward_batch(self, batch, batch_info):
        *features, target = batch
        output = self.model(*features)
        return output, target, self.criterion(output, target)


class Pair(TrainingOperator):
    """Two models with an optimizer each, one of which takes steps for both losses."""

    def train_batch(self, batch, batch_info):
        x, y = batch
        for model, optimizer in zip(self.models, self.optimizers, strict=True):
            loss = F.mse_loss(model(x).squeeze(-1), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return {"train_loss": loss}

    def validate(self, val_iterator, info, metrics):
        rows, total = 0, 0.0
        for x, y in val_iterator:
            rows += len(y)
            total += float(((self.models[1](x).squeeze(-1) - y) ** 2).sum())
        return {"val_loss": total / max(rows, 1)}

    def predict_batch(self, batch):
        return self.models[0](*batch) + self.models[1](*batch)


def pair(config):
    return nn.Linear(4, 1), nn.Linear(4, 1)


def two_optimizers(models, config):
    return [
        torch.optim.Adam(models[0].parameters(), 0.01),
        torch.optim.SGD(models[1].parameters(), 0.1),
    ]


def test_several_models_and_optimizers(torch_ranks):
    rows = columns()
    data = Data.of(rows, (50, 53), features=("x",))
    given = recipe(model=pair, optimizer=two_optimizers, training_operator_cls=Pair)
    ran = train(torch_ranks, given, data, validation=data, epochs=2, **TORCH)
    same_on_all(ran)

    def plain():
        from zoo.orca.frameworks.torch.models import seed_all

        seed_all(7)
        models = pair({})
        optimizers = two_optimizers(models, {})
        for batch in data.batches(20, 12):
            x, y = torch.from_numpy(batch["x"]), torch.from_numpy(batch["y"])
            for model, optimizer in zip(models, optimizers, strict=True):
                optimizer.zero_grad()
                F.mse_loss(model(x).squeeze(-1), y).backward()
                optimizer.step()
        both = nn.ModuleList(models).state_dict()
        return {f"weights/{name}": value.numpy() for name, value in both.items()}

    close(ran[0].weights(), torch_ranks.alone(plain))
    state = ran[0].trained.state
    found = evaluate(torch_ranks, given, data, state=state, **TORCH)[0]
    assert found["loss"] == pytest.approx(ran[0].trained.history["val_loss"][-1])
    job = predict_job(given, data.spec, state=state, framework="torch")
    found = torch_ranks.alone(predicted, job, {"x": rows["x"]})[0][0]
    tensors = state.tensors
    expected = sum(
        rows["x"] @ tensors[f"weights/{k}.weight"].T + tensors[f"weights/{k}.bias"] for k in (0, 1)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


class SlowPair(Pair):
    def train_batch(self, batch, batch_info):
        time.sleep(PAUSE)
        return super().train_batch(batch, batch_info)


class SlowCallback(Callback):
    def after_train_iter(self, runner):
        time.sleep(PAUSE)


@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_a_profile_says_what_the_steps_of_hooks_are_made_of(torch_ranks, counts):
    data = Data.of(columns(), counts, features=("x",))
    given = recipe(model=pair, optimizer=two_optimizers, training_operator_cls=SlowPair)
    ran = train(
        torch_ranks, given, data, epochs=2, profile=True, callbacks=[SlowCallback()], **TORCH
    )
    for one in ran:
        parts = one.timings.parts
        assert one.timings.steps == 12
        assert parts["compute"] >= 0.9 * PAUSE * 12
        assert parts["callbacks"] >= 0.9 * PAUSE * 12
        assert parts["feed"] > 0
        assert (parts["exchange"] > 0) == (len(counts) > 1)


def test_gradients_are_accumulated_by_the_default_steps_alone(torch_ranks):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    given = of(Embedded, training_operator_cls=OwnBatch)
    with pytest.raises(Failed, match="accumulate in train_batch"):
        train(torch_ranks, given, data, options={"gradient_accumulation": 2}, **TORCH)


class HiddenOptimizer(TrainingOperator):
    def setup(self, config):
        self.hidden = torch.optim.SGD(self.model.parameters(), 0.1)

    def train_batch(self, batch, batch_info):
        *features, target = batch
        loss = self.criterion(self.model(*features), target)
        loss.backward()
        self.hidden.step()
        return {"train_loss": loss}


class Lazybones(TrainingOperator):
    def train_epoch(self, iterator, info):
        self.train_batch(next(iter(iterator)), {})
        return {}


@pytest.mark.parametrize(
    ("operator", "words"), [(HiddenOptimizer, "optimizer"), (Lazybones, "Let it use all")]
)
def test_what_would_make_workers_differ_is_refused(torch_ranks, operator, words):
    data = Data.of(columns(), (50, 53), features=("x", "u"))
    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(Embedded, training_operator_cls=operator), data, **TORCH)
    assert caught.value.kind is ModelError and words in caught.value.message
