"""What the original's callbacks rely on: the runner, its batch, and when they are called."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.frameworks.ranks import Data, Failed, evaluate, same_on_all, train
from tests.frameworks.torch.test_equal import TwoOutputs, close, columns
from tests.frameworks.torch_models import Embedded, of
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.feed import Batch
from zoo.orca.frameworks.torch.training.callbacks import Callback, MainCallback
from zoo.orca.learn import metrics as orca
from zoo.orca.learn.pytorch.recipe import recipe

pytestmark = pytest.mark.timeout(300)

TORCH = {"framework": "torch", "batch_size": 20}
each_counts = pytest.mark.parametrize("counts", [(103,), (50, 53), (100, 3)])


def rows(counts=(50, 53), **more):
    return Data.of(columns(), counts, features=("x", "u"), **more)


class OriginalForward(MainCallback):
    """The step as the original's programs write it."""

    def on_iter_forward(self, runner):
        *features, target = runner.batch
        runner.output = runner.model(*features)
        targets = target if isinstance(target, (list, tuple)) else [target]
        outputs = runner.output if isinstance(runner.output, (list, tuple)) else [runner.output]
        runner.loss = runner.criterion(*outputs, *targets)
        runner.target = target

    def on_iter_backward(self, runner):
        runner.optimizer.zero_grad()
        runner.loss.backward()
        runner.optimizer.step()

    def on_lr_adjust(self, runner):
        if runner.scheduler:
            runner.scheduler.step()


def halves(optimizer, config):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


@each_counts
@pytest.mark.parametrize("validate", [False, True])
def test_the_originals_main_callback_takes_the_default_steps(torch_ranks, counts, validate):
    data = rows(counts)
    given = of(Embedded, scheduler_creator=halves, metrics=[orca.MAE()])
    fields = {"epochs": 2, "validation": data if validate else None, **TORCH}
    default = train(torch_ranks, given, data, **fields)
    ran = train(torch_ranks, given, data, callbacks=[OriginalForward()], **fields)
    same_on_all(ran)
    close(ran[0].weights(), default[0].weights())
    for name, values in default[0].trained.history.items():
        np.testing.assert_allclose(ran[0].trained.history[name], values, rtol=1e-5, err_msg=name)
    group = ran[0].trained.state.meta["optimizers"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(0.05 * 0.25)


class Records(Callback):
    """Notes what the runner has at each moment, and leaves it where the test can read it."""

    def __init__(self):
        self.seen = []

    def note(self, moment, runner, **more):
        self.seen.append([moment, runner.epochs, runner.global_step, more])

    def before_run(self, runner):
        self.note("before_run", runner, epochs=runner.num_epochs, steps=len(runner.train_loader))
        runner.put("notes", 1)

    def before_train_epoch(self, runner):
        self.note("before_train_epoch", runner, stats=runner.epoch_stats)
        runner.update("notes", runner.get("notes") + 1)

    def before_train_iter(self, runner):
        x, u, target = runner.batch
        same = torch.equal(target, runner.batch.target) and runner.output is None
        self.note("before_train_iter", runner, rows=len(x), index=runner.batch_idx, same=same)

    def after_train_iter(self, runner):
        loss = float(F.mse_loss(runner.output, runner.batch.target))
        stats = runner.metrics_stats
        assert stats["train_loss"] == pytest.approx(loss, rel=1e-5)
        assert stats["train_loss"] == pytest.approx(float(runner.loss), rel=1e-5)
        self.note("after_train_iter", runner, rows=stats["num_samples"])

    def before_val_epoch(self, runner):
        self.note("before_val_epoch", runner, training=runner.model.training)

    def after_val_iter(self, runner):
        *_, target = runner.batch
        self.note("after_val_iter", runner, outputs=len(runner.output), labels=len(target))

    def after_val_epoch(self, runner):
        self.note("after_val_epoch", runner, steps=len(runner.val_loader))

    def after_train_epoch(self, runner):
        self.note("after_train_epoch", runner, stats=runner.epoch_stats)

    def after_run(self, runner):
        assert runner.rank < runner.size == runner.world_size
        assert runner.optimizer is runner.optimizers[0] and runner.model is runner.models[0]
        assert runner.scheduler is runner.lr_scheduler is runner.schedulers[0]
        self.note("after_run", runner, notes=runner.get("notes"))
        runner.remove("notes")
        runner.config["history"] = self.seen


class Keeps(MainCallback):
    """Hands what was recorded to the test, in the model's state."""

    def after_run(self, runner):
        import json

        told = json.dumps(runner.config["history"]).encode()
        runner.model.told.data = torch.frombuffer(bytearray(told), dtype=torch.uint8).clone()


class Told(Embedded):
    def __init__(self):
        super().__init__()
        self.register_buffer("told", torch.zeros(1, dtype=torch.uint8))


def story(ranks, data, main, **fields):
    import json

    given = of(Told, scheduler_creator=halves)
    callbacks = [Records(), Keeps() if main else Hands()]
    ran = train(ranks, given, data, validation=data, callbacks=callbacks, **fields, **TORCH)
    return json.loads(ran[0].weights()["weights/told"].tobytes()), ran[0].trained.history


class Hands(Callback):
    def after_run(self, runner):
        Keeps.after_run(self, runner)


@pytest.mark.parametrize("main", [False, True])
@pytest.mark.parametrize("counts", [(103,)])
def test_the_runner_at_each_moment(torch_ranks, counts, main):
    seen, history = story(torch_ranks, rows(counts), main, epochs=2)
    expected = [["before_run", 0, 0, {"epochs": 2, "steps": 6}]]
    sizes = [20, 20, 20, 20, 20, 3]
    for epoch in range(2):
        step = 6 * epoch
        expected.append(["before_train_epoch", epoch, step, {"stats": None}])
        for k, size in enumerate(sizes):
            more = {"rows": size, "index": k, "same": True}
            expected.append(["before_train_iter", epoch, step + k, more])
            expected.append(["after_train_iter", epoch, step + k + 1, {"rows": size}])
        expected.append(["before_val_epoch", epoch, step + 6, {"training": False}])
        for size in sizes:
            expected.append(["after_val_iter", epoch, step + 6, {"outputs": size, "labels": size}])
        expected.append(["after_val_epoch", epoch, step + 6, {"steps": 6}])
        stats = {"epoch": epoch + 1, "train_loss": history["loss"][epoch]}
        stats |= {"val_loss": history["val_loss"][epoch], "num_samples": 103}
        expected.append(["after_train_epoch", epoch + 1, step + 6, {"stats": stats}])
    expected.append(["after_run", 2, 12, {"notes": 3}])
    assert seen == expected


class Doubles(Callback):
    """Puts another batch in the place of each: a plain tuple, as the loader's were."""

    def before_train_iter(self, runner):
        x, u, target = runner.batch
        runner.batch = (2 * x, u, target + 1)

    def before_val_iter(self, runner):
        self.before_train_iter(runner)


@each_counts
@pytest.mark.parametrize("callbacks", [[Doubles()], [Doubles(), OriginalForward()]])
def test_a_callback_may_change_the_batch(torch_ranks, counts, callbacks):
    given = of(Embedded, metrics=[orca.MAE()])
    ran = train(
        torch_ranks, given, rows(counts), validation=rows(counts), callbacks=callbacks, **TORCH
    )
    changed = columns()
    changed["x"], changed["y"] = 2 * changed["x"], changed["y"] + 1
    data = Data.of(changed, counts, features=("x", "u"))
    expected = train(torch_ranks, given, data, validation=data, **TORCH)
    close(ran[0].weights(), expected[0].weights())
    for name, values in expected[0].trained.history.items():
        np.testing.assert_allclose(ran[0].trained.history[name], values, rtol=1e-5, err_msg=name)


class Puts(Callback):
    def __init__(self, value):
        self.value = value

    def before_train_iter(self, runner):
        runner.batch = self.value(runner.batch)


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (lambda batch: None, "made the batch a NoneType"),
        (lambda batch: batch[:2], "made the batch a tuple"),
        (lambda batch: tuple(one[:1] for one in batch), "a batch of other rows"),
    ],
)
def test_what_is_no_batch_is_refused(torch_ranks, value, cause):
    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(Embedded), rows((103,)), callbacks=[Puts(value)], **TORCH)
    assert caught.value.kind is ModelError
    first, second = caught.value.message.split("\n")
    assert cause in first and second


def test_batches_as_the_original_has_them():
    x, u, y, z = (torch.ones(2) * k for k in range(4))
    shown = Batch((x, u), y, None, 2, 4).shown()
    *features, target = shown
    assert features == [x, u] and target is y and isinstance(shown, tuple)
    assert (shown.rows, shown.of, shown.weight) == (2, 4, None)
    *features, target = Batch({"a": x}, (y, z), u, 2, 2).shown()
    assert features == [{"a": x}] and target == (y, z)
    assert tuple(Batch((x, u), None, None, 2, 2).shown()) == (x, u)
    again = Batch({"a": x}, (y, z), u, 2, 2).shown().replaced_by([{"a": u}, (z, y)])
    assert again.features == {"a": u} and again.target == (z, y) and again.weight is u


class Validates(MainCallback):
    """Another forward pass in validation, as is done for models that train otherwise."""

    def on_val_forward(self, runner):
        *features, target = runner.batch
        runner.output = runner.model(*features) + 1
        runner.loss = runner.criterion(runner.output, target)


class NoLoss(MainCallback):
    def on_val_forward(self, runner):
        runner.output = runner.model(*runner.batch[:-1]) + 1


class NoOutput(MainCallback):
    def on_val_forward(self, runner):
        runner.loss = runner.criterion(runner.model(*runner.batch[:-1]), runner.batch[-1])


@each_counts
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_validation_is_the_main_callbacks(torch_ranks, counts, reduction):
    loss = lambda config: nn.MSELoss(reduction=reduction)  # noqa: E731
    shifted = columns()
    shifted["y"] = shifted["y"] - 1
    given = of(Embedded, metrics=[orca.MAE()], loss=loss)
    expected = evaluate(torch_ranks, given, Data.of(shifted, counts, features=("x", "u")), **TORCH)[
        0
    ]
    for main in (Validates, NoLoss, NoOutput):
        if main is NoOutput:
            with pytest.raises(Failed, match="sets no runner.output"):
                evaluate(torch_ranks, given, rows(counts), callbacks=[main()], **TORCH)
            continue
        result = evaluate(torch_ranks, given, rows(counts), callbacks=[main()], **TORCH)[0]
        assert result["MAE"] == pytest.approx(expected["MAE"], rel=1e-5)
        if main is Validates:
            assert result["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        else:
            assert np.isnan(result["loss"])


class Writes(Callback):
    def __init__(self, path):
        self.path = path

    def after_train_epoch(self, runner):
        runner.save_checkpoint(self.path.format(epoch=runner.epochs))
        state = runner.get_state_dict()
        assert (state["epoch"], len(state["models"])) == (runner.epochs, 1)


def test_checkpoints_of_the_runner(torch_ranks, tmp_path):
    path = str(tmp_path / "{epoch}.pt")
    ran = train(torch_ranks, of(Embedded), rows(), epochs=2, callbacks=[Writes(path)], **TORCH)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["1.pt", "2.pt"]
    saved = torch.load(io.BytesIO((tmp_path / "2.pt").read_bytes()), weights_only=True)
    for name, value in saved["models"][0].items():
        np.testing.assert_array_equal(ran[0].weights()[f"weights/{name}"], value)


def three(first, second, y, flag):
    return F.mse_loss(first, y) + F.binary_cross_entropy_with_logits(second, flag.float())


class Three(nn.Module):
    def forward(self, first, second, y, flag):
        return three(first, second, y, flag)


class Positional(TwoOutputs):
    def forward(self, a, b):
        return super().forward(a=a, b=b)


def joined(output, target):
    return three(*output, *target)


@each_counts
@pytest.mark.parametrize("loss", [three, Three, Three()])
def test_losses_of_several_outputs_and_labels(torch_ranks, counts, loss):
    """As the original calls them: outputs one by one, then labels."""
    data = Data.of(columns(), counts, features=("x", "w"), labels=("y", "flag"))
    found = [
        train(torch_ranks, of(Positional, loss=one), data, validation=data, epochs=2, **TORCH)
        for one in (loss, joined)
    ]
    close(found[0][0].weights(), found[1][0].weights())
    assert found[0][0].trained.history == found[1][0].trained.history
    own = train(
        torch_ranks,
        of(Positional, loss=loss),
        data,
        validation=data,
        epochs=2,
        callbacks=[OriginalForward()],
        **TORCH,
    )
    close(own[0].weights(), found[0][0].weights())
    np.testing.assert_allclose(
        own[0].trained.history["val_loss"], found[0][0].trained.history["val_loss"], rtol=1e-5
    )


class Embeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.one(x), self.two(x)


@each_counts
@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_pytorch_of_two_outputs(torch_ranks, counts, weight, reduction):
    table = columns()
    table["flag"] = 2 * table["flag"] - 1
    data = Data.of(table, counts, features=("x",), labels=("flag",), weight=weight)
    loss = nn.CosineEmbeddingLoss(margin=0.1, reduction=reduction)
    given = of(Embeddings, loss=lambda config: loss, lr=0.01)
    ran = train(torch_ranks, given, data, **TORCH)
    same_on_all(ran)

    def by_hand():
        from zoo.orca.frameworks.torch.models import seed_all

        seed_all(7)
        model = Embeddings()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for batch in data.batches(20, 6):
            x, flag = torch.from_numpy(batch["x"]), torch.from_numpy(batch["flag"])
            values = F.cosine_embedding_loss(*model(x), flag, 0.1, reduction="none")
            if weight:
                values = values * torch.from_numpy(batch["w"])
            optimizer.zero_grad()
            getattr(values, reduction)().backward()
            optimizer.step()
        return {f"weights/{n}": value.numpy() for n, value in model.state_dict().items()}

    close(ran[0].weights(), torch_ranks.alone(by_hand))


def test_a_loss_whose_arguments_are_in_another_order_is_refused(torch_ranks):
    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(Embedded, loss=nn.GaussianNLLLoss), rows(), **TORCH)
    first, second = caught.value.message.split("\n")
    assert "mean, label and variance" in first and "F.gaussian_nll_loss" in second


def pair(config):
    return nn.Linear(4, 1), nn.Linear(4, 1)


class First(Callback):
    def after_run(self, runner):
        assert runner.model is runner.models[0] and len(runner.models) == 2
        assert len(runner.whole.state_dict()) == 4


def test_the_model_is_the_first_of_several(torch_ranks):
    from tests.frameworks.torch.training.test_operator import Pair, two_optimizers

    data = Data.of(columns(), (50, 53), features=("x",))
    given = recipe(model=pair, optimizer=two_optimizers, training_operator_cls=Pair)
    train(torch_ranks, given, data, callbacks=[First()], **TORCH)


class TakesItsLabel(nn.Module):
    """As the original's tutorial has it: the model computes its own loss."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x, target):
        return {"error": F.mse_loss(self.layer(x).squeeze(-1), target)}


class OwnLoss(MainCallback):
    def on_iter_forward(self, runner):
        x, target = runner.batch
        runner.output = runner.model(x, target)
        runner.loss = sum(loss for loss in runner.output.values())


@each_counts
def test_hooks_may_call_the_model_otherwise(torch_ranks, counts):
    data = Data.of(columns(), counts, features=("x",))
    given = recipe(
        model=lambda config: TakesItsLabel(),
        optimizer=lambda model, config: torch.optim.SGD(model.parameters(), 0.05),
    )
    ran = train(torch_ranks, given, data, validation=data, callbacks=[OwnLoss()], **TORCH)
    same_on_all(ran)

    def by_hand():
        from zoo.orca.frameworks.torch.models import seed_all

        seed_all(7)
        model = TakesItsLabel()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        for batch in data.batches(20, 6):
            optimizer.zero_grad()
            model(*(torch.from_numpy(batch[name]) for name in ("x", "y")))["error"].backward()
            optimizer.step()
        return {f"weights/{n}": value.numpy() for n, value in model.state_dict().items()}

    close(ran[0].weights(), torch_ranks.alone(by_hand))
    assert np.isfinite(ran[0].trained.history["val_loss"]).all()


class Steps(nn.Module):
    """Scores of three classes for each of four places, classes last."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, x):
        return self.layer(x[..., None])


class Flattens(MainCallback):
    def on_iter_forward(self, runner):
        x, target = runner.batch
        runner.output = runner.model(x)
        runner.loss = runner.criterion(runner.output.reshape(-1, 3), target.reshape(-1))


class Moves(Steps):
    def forward(self, x):
        return super().forward(x).movedim(-1, 1)


def test_hooks_may_give_outputs_another_shape(torch_ranks):
    table = columns()
    table["label"] = (table["x"] > 0).astype(np.int32)
    data = Data.of(table, (103,), features=("x",), labels=("label",))
    own = train(
        torch_ranks, of(Steps, loss=nn.CrossEntropyLoss), data, callbacks=[Flattens()], **TORCH
    )
    with pytest.raises(Failed) as caught:
        train(torch_ranks, of(Steps, loss=nn.CrossEntropyLoss), data, **TORCH)
    first, second = caught.value.message.split("\n")
    assert "(batch, 4, 3)" in first and "(batch, 4)" in first and "movedim(-1, 1)" in second
    moved = train(torch_ranks, of(Moves, loss=nn.CrossEntropyLoss), data, **TORCH)
    close(own[0].weights(), moved[0].weights())


class Wrong:
    def after_run(self, runner):
        """Derived from nothing."""


def test_what_is_no_callback_is_refused(torch_ranks):
    with pytest.raises(Failed, match="Derive it from Callback"):
        train(torch_ranks, of(Embedded), rows(), callbacks=[Wrong()], **TORCH)
