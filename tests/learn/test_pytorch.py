"""`zoo.orca.learn.pytorch.Estimator` through Spark: a user's day."""

import json
import pickle
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from torch import nn

from zoo.orca.errors import InvalidInputError, ModelError, RowsNeededError, StateError
from zoo.orca.learn.metrics import Accuracy
from zoo.orca.learn.pytorch import Estimator, TrainingOperator
from zoo.orca.learn.pytorch.callbacks import Callback, MainCallback, ModelCheckpoint
from zoo.orca.learn.pytorch.options import training_options
from zoo.orca.learn.pytorch.stats import evaluation
from zoo.orca.wire.packing import unpack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FEATURES, LABELS = ["user", "item"], ["label"]


@pytest.fixture(scope="module")
def ratings(spark: SparkSession) -> DataFrame:
    """2,003 ratings of 40 users and 30 items."""
    return (
        spark.range(2003)
        .select(
            (F.rand(1) * 40).cast("int").alias("user"),
            (F.rand(2) * 30).cast("long").alias("item"),
        )
        .withColumn("label", (F.col("user") + F.col("item")) % 5)
        .cache()
    )


class NCF(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(40, 8), nn.Embedding(30, 8)
        self.layers = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, user, item):
        return self.layers(torch.cat([self.user(user), self.item(item)], dim=1))


def adam(model, config):
    return torch.optim.Adam(model.parameters(), lr=config["lr"])


def estimator(**more) -> Estimator:
    given = {"model": lambda config: NCF(), "optimizer": adam, "loss": nn.CrossEntropyLoss()}
    given.update(config={"lr": 0.01}, metrics=[Accuracy()], num_workers=2)
    return Estimator.from_torch(**{**given, **more})


def fit(est: Estimator, ratings: DataFrame, epochs: int = 1, **more):
    return est.fit(
        ratings, epochs, 100, verbose=0, feature_cols=FEATURES, label_cols=LABELS, **more
    )


@pytest.fixture(scope="module")
def trained(ratings: DataFrame):
    est = estimator()
    return est, fit(est, ratings, 2, validation_data=ratings.limit(500))


def test_fit_returns_orcas_names(trained) -> None:
    _, stats = trained
    names = {"train_loss", "train_Accuracy", "train_val_loss", "train_val_Accuracy"}
    assert set(stats.keys()) == names and dict(stats.items()) == dict(stats)
    assert "train_loss" in stats and "loss" not in stats and stats.get("loss", 1) == 1
    assert list(stats.values()) == [stats[name] for name in stats.keys()]  # noqa: SIM118
    assert isinstance(stats, list) and len(stats) == 2
    for number, epoch in enumerate(stats):  # as the original's tutorials read them
        assert dict(epoch.items())["epoch"] == number + 1
        assert set(epoch) == {
            *("epoch", "train_loss", "train_Accuracy", "val_loss", "val_Accuracy", "num_samples")
        }
    assert stats[1]["train_Accuracy"] == stats.history["Accuracy"][1]
    assert stats.history["loss"][1] < stats.history["loss"][0]
    assert stats[0]["epoch"] == 1 and stats[1]["train_loss"] == stats["train_loss"]
    assert stats[-1]["val_Accuracy"] == stats.history["val_Accuracy"][-1]
    assert [one["num_samples"] for one in stats.epochs()] == [2003, 2003]
    assert set(stats.history) == {"loss", "Accuracy", "val_loss", "val_Accuracy"}


def test_get_model_evaluate_and_predict_agree(trained, ratings: DataFrame) -> None:
    est, _ = trained
    rows = ratings.toPandas()
    inputs = [torch.from_numpy(rows[name].to_numpy().copy()) for name in FEATURES]
    model = est.get_model().eval()
    with torch.no_grad():
        output = model(*inputs)
    label = torch.from_numpy(rows["label"].to_numpy().copy())
    loss = float(nn.functional.cross_entropy(output, label))
    accuracy = float((output.argmax(1) == label).double().mean())
    found = est.evaluate(ratings, 64, verbose=0, feature_cols=FEATURES, label_cols=LABELS)
    names = ["validation_loss", "validation_Accuracy", "val_loss", "Accuracy", "num_samples"]
    assert list(found) == names
    assert found["validation_loss"] == found["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert found["Accuracy"] == found["validation_Accuracy"] and found["num_samples"] == 2003
    assert found["validation_Accuracy"] == pytest.approx(accuracy)
    predicted = est.predict(ratings.withColumn("kept", F.lit("x")), feature_cols=FEATURES)
    assert predicted.columns == [*ratings.columns, "kept", "prediction"]
    collected = predicted.toPandas()
    with torch.no_grad():
        again = model(*[torch.from_numpy(collected[n].to_numpy().copy()) for n in FEATURES])
    guesses = np.array([row.toArray() for row in collected["prediction"]])
    np.testing.assert_allclose(guesses, again.numpy(), atol=1e-5)


def test_save_load_fit_goes_on_as_fit_fit(ratings: DataFrame, tmp_path: Path) -> None:
    unbroken = estimator()
    fit(unbroken, ratings)
    path = str(tmp_path / "ncf.state")
    assert unbroken.save(path) == path
    weights = str(tmp_path / "ncf.pt")
    unbroken.save(weights)
    for name, value in torch.load(weights, weights_only=True).items():
        torch.testing.assert_close(value, unbroken.get_state_dict()["models"][0][name])
    stats = fit(unbroken, ratings)
    loaded = estimator()
    loaded.load(path)
    assert fit(loaded, ratings).history == stats.history
    mine, other = loaded.get_state_dict(), unbroken.get_state_dict()
    for name, value in mine["models"][0].items():
        assert torch.equal(value, other["models"][0][name])
    bare = estimator()
    bare.load(weights)
    assert set(bare.get_model().state_dict()) == set(mine["models"][0])


class Named(NCF):
    """The number of the class, as an id beyond what a float holds, and its score."""

    def forward(self, user, item):
        scores = super().forward(user, item)
        return {"score": scores.max(1).values, "id": scores.argmax(1) + 16777217}


def test_the_weights_of_a_state_in_a_model_that_returns_something_else(
    trained, ratings: DataFrame, tmp_path: Path
) -> None:
    """A state knows what came out when it was saved, and this is another model's output."""
    est, _ = trained
    loaded = estimator(model=lambda config: Named())
    loaded.load(est.save(str(tmp_path / "ncf.state")))
    predicted = loaded.predict(est.predict(ratings.limit(20)))
    assert predicted.dtypes[-2:] == [("prediction_score", "float"), ("prediction_id", "bigint")]
    for row in predicted.collect():
        scores = row.prediction.toArray()
        assert row.prediction_id == scores.argmax() + 16777217
        assert row.prediction_score == pytest.approx(scores.max())


def sgd(model, config):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_weights_are_loaded_for_another_optimizer(
    trained, ratings: DataFrame, tmp_path: Path, capsys
) -> None:
    est, _ = trained
    path = est.save(str(tmp_path / "ncf.state"))
    said = "warning: the optimizer begins anew"

    def fitted(**load):
        other = estimator(optimizer=sgd)
        other.load(path, **load)
        columns = {"feature_cols": FEATURES, "label_cols": LABELS}
        other.fit(ratings, 1, 100, **columns)
        first = capsys.readouterr().out.count(said)
        other.fit(ratings, 1, 100, **columns)
        assert said not in capsys.readouterr().out
        return first

    assert fitted() == 1
    assert fitted(optimizer=False) == 0
    with pytest.raises(StateError, match="with Adam, and this estimator has SGD"):
        fitted(optimizer=True)
    same = estimator()
    same.load(path, optimizer=True)
    assert len(fit(same, ratings).history["loss"]) == 1


def test_before_fit_the_model_as_it_was_made_is_saved(ratings: DataFrame, tmp_path: Path) -> None:
    """What is saved is what a fit would begin with."""
    est, loaded = (estimator(config={"lr": 0.0}) for _ in range(2))
    loaded.load(est.save(str(tmp_path / "state")))
    fit(est, ratings)
    mine, other = loaded.get_state_dict(), est.get_state_dict()
    for name, value in mine["models"][0].items():
        assert torch.equal(value, other["models"][0][name])


def test_a_file_is_the_model_where_there_is_none(trained, ratings: DataFrame, tmp_path: Path):
    est, _ = trained
    entire = est.save(str(tmp_path / "entire.pt"), entire=True)
    checkpoint = est.save_checkpoint(str(tmp_path / "last.ckpt"))
    columns = {"feature_cols": FEATURES, "label_cols": LABELS}
    bare = Estimator.from_torch(loss=nn.CrossEntropyLoss(), metrics=[Accuracy()], num_workers=2)
    with pytest.raises(InvalidInputError, match=r"no model yet.*\nCall load\(path\) of a file"):
        bare.evaluate(ratings, **columns)
    with pytest.raises(StateError, match=r"holds no model that can be made without running code"):
        bare.load(checkpoint)
    bare.load(entire)
    found = bare.evaluate(ratings, 64, verbose=0, **columns)
    assert found == pytest.approx(est.evaluate(ratings, 64, verbose=0, **columns), rel=1e-6)
    with pytest.raises(ModelError, match=r"fit needs an optimizer\nPass from_torch\(optimizer="):
        bare.fit(ratings, 1, 100, verbose=0, **columns)

    given = {"optimizer": adam, "loss": nn.CrossEntropyLoss(), "config": {"lr": 0.01}}
    other = Estimator.from_torch(num_workers=2, **given)
    other.load(entire)
    other.load(checkpoint)  # a checkpoint goes into the model that the first file brought
    again = estimator(metrics=None)
    again.load_checkpoint(checkpoint)
    for one in (other, again):
        fit(one, ratings)
    mine, theirs = other.get_state_dict()["models"][0], again.get_state_dict()["models"][0]
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)
    synced = Estimator.from_torch(sync_batch_norm=True)
    with pytest.raises(InvalidInputError, match="hides its batch normalisation"):
        synced.load(entire)


def test_a_load_that_fails_leaves_the_estimator_as_it_was(tmp_path: Path) -> None:
    bare = str(tmp_path / "bare.pt")
    torch.save(NCF().state_dict(), bare)
    est = estimator()
    with pytest.raises(StateError, match="no optimizer"):
        est.load(bare, optimizer=True)
    assert est._state is None and not est._insists
    est.load(bare)
    before = est._state
    with pytest.raises(StateError, match="no optimizer"):
        est.load(bare, optimizer=True)
    assert est._state is before and not est._insists


class Halved(TrainingOperator):
    def train_batch(self, batch, batch_info):
        values = super().train_batch(batch, batch_info)
        return {**values, "half": 0.5 * values["train_loss"]}


class Notes(Callback):
    def after_train_epoch(self, runner):
        runner.stop = runner.epoch == 1


def test_instances_operator_and_callbacks(ratings: DataFrame, tmp_path: Path) -> None:
    model = NCF()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    est = estimator(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        training_operator_cls=Halved,
    )
    path = tmp_path / "at-{epoch}-{iter}.ckpt"
    stats = fit(est, ratings, 5, callbacks=[Notes(), ModelCheckpoint(str(path))])
    assert len(stats.history["loss"]) == 2
    np.testing.assert_allclose(stats.history["half"], np.array(stats.history["loss"]) / 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["at-1-21.ckpt", "at-2-42.ckpt"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    again = estimator(optimizer=lambda m, c: torch.optim.SGD(m.parameters(), 0.1, momentum=0.9))
    again.load(str(tmp_path / "at-2-42.ckpt"))
    assert again.get_state_dict()["epoch"] == 2
    for name, value in again.get_state_dict()["models"][0].items():
        assert torch.equal(value, est.get_state_dict()["models"][0][name])


def test_curves_are_arrays_and_several_outputs_one_column(ratings: DataFrame) -> None:
    class TwoOutputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(40, 2)

        def forward(self, user):
            scores = self.table(user)
            return scores, -scores

    def loss(output, target):
        return (output[0].sum(1) - target).square().mean()

    few = ratings.select("user", (F.col("label") % 2).cast("float").alias("label")).limit(60)
    est = Estimator.from_torch(model=TwoOutputs, optimizer=adam, loss=loss, config={"lr": 0.1})
    found = est.predict(few, feature_cols=["user"], output_cols="prediction")
    assert found.columns == ["user", "label", "prediction_0", "prediction_1", "prediction"]
    row = found.first()
    assert row.prediction == [row.prediction_0, row.prediction_1]
    assert "prediction" not in est.predict(few, feature_cols=["user"]).columns

    values = {"loss": 0.5, "num_samples": 60.0, "mine[fpr][0]": 0.0, "mine[fpr][1]": 1.0}
    told = evaluation({**values, "mine[tpr][0]": 0.25, "mine[tpr][1]": 1.0})
    assert list(told) == ["validation_loss", "validation_mine", "val_loss", "num_samples", "mine"]
    assert told["mine"]["fpr"].tolist() == [0, 1] and told["mine"]["tpr"].tolist() == [0.25, 1]
    assert told["num_samples"] == 60 and told["validation_mine"] is told["mine"]


class Seen(Callback):
    """Notes what it is told of a prediction, in a file of each process."""

    def __init__(self, directory):
        self.directory = directory

    def before_pred_epoch(self, runner):
        self.told = ["epoch"]

    def before_pred_iter(self, runner):
        assert runner.output is None
        self.told.append(len(runner.batch))

    def after_pred_iter(self, runner):
        self.told.append(len(runner.output))

    def after_pred_epoch(self, runner):
        path = Path(self.directory, uuid.uuid4().hex)
        path.write_text(json.dumps(self.told))
        path.rename(f"{path}.json")


class Negative(MainCallback):
    def on_pred_forward(self, runner):
        runner.output = -runner.call_model(runner.batch)[:, :2]


def test_a_prediction_tells_callbacks(trained, ratings: DataFrame, tmp_path: Path) -> None:
    est, _ = trained
    few = ratings.limit(50).coalesce(1).cache()
    right = [row.prediction.toArray() for row in est.predict(few).collect()]
    told = est.predict(few, 20, callbacks=[Seen(str(tmp_path)), Negative()]).collect()
    for row, all_five in zip(told, right, strict=True):
        np.testing.assert_allclose(row.prediction.toArray(), -all_five[:2], rtol=1e-6)
    # A child is told of the end behind the last row, and nobody waits for it.
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    (note,) = tmp_path.glob("*.json")
    assert json.loads(note.read_text()) == ["epoch", *[2, 20] * 2, 2, 10]
    again = [row.prediction.toArray() for row in est.predict(few).collect()]
    np.testing.assert_array_equal(again, right)


def test_as_many_steps_as_are_asked_for(ratings: DataFrame) -> None:
    """The original ignores `epochs` then, whose default is one: 21 steps."""
    est = estimator()
    assert len(fit(est, ratings, max_steps=25).history["loss"]) == 2
    stats = fit(est, ratings, max_steps=10)
    assert est.get_state_dict()["step"] == 35
    assert len(stats.history["loss"]) == 1
    assert (stats[0]["epoch"], stats[0]["num_samples"]) == (3, 1000)


def test_results_of_each_worker(ratings: DataFrame) -> None:
    nested = fit(estimator(), ratings, 2, reduce_results=False)
    assert len(nested) == 2 and len(nested[0]) == 2
    assert sum(one["num_samples"] for one in nested[1]) == 2003
    assert nested[1][0]["train_Accuracy"] == nested[1][1]["train_Accuracy"]


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.norm = nn.Embedding(40, 8), nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 5)

    def forward(self, user, item):
        return self.out(self.norm(self.user(user)))


def test_same_numbers_on_every_worker_are_another_thing_than_their_statistics(ratings: DataFrame):
    """BigDL's `sync_stats` is about results; each worker's batch normalisation stays its own."""
    found = {
        name: fit(estimator(model=lambda config: Normalised(), **arguments), ratings)
        for name, arguments in {
            "neither": {},
            "stats": {"sync_stats": True},
            "batch norm": {"sync_batch_norm": True},
        }.items()
    }
    assert found["stats"] == found["neither"]
    assert found["batch norm"] != found["neither"]


def test_info_travels_to_workers_that_lack_the_users_classes() -> None:
    class Factor:
        value = 2

    options = training_options(
        first_step=0,
        reduce_results=True,
        info={"factor": Factor()},
        max_steps=None,
        gradient_accumulation=1,
        clip_grad_norm=None,
        precision="fp32",
        compile=False,
        training_metrics=None,
        insist_on_optimizer=False,
    )
    # As a stage pickles its job.
    assert unpack(pickle.loads(pickle.dumps(options)).info)["factor"].value == 2


def test_what_cannot_be_used_is_refused_on_the_driver(ratings: DataFrame) -> None:
    with pytest.raises(InvalidInputError, match="backend"):
        estimator(backend="mxnet")
    with pytest.raises(InvalidInputError, match="model must be"):
        estimator(model=3)
    with pytest.raises(InvalidInputError, match="instance"):
        estimator(optimizer=torch.optim.SGD(NCF().parameters(), 0.1))
    with pytest.raises(InvalidInputError, match="does not have"):
        estimator(model=NCF(), optimizer=torch.optim.SGD(NCF().parameters(), 0.1))
    est = estimator()
    with pytest.raises(InvalidInputError, match="precision"):
        fit(est, ratings, precision="fp8")
    with pytest.raises(InvalidInputError, match="clip_grad_norm"):
        fit(est, ratings, clip_grad_norm=-1)
    with pytest.raises(InvalidInputError, match=r"^info must be a dict, got a value of type list"):
        fit(est, ratings, info=[1])
    with pytest.raises(InvalidInputError, match="^info cannot be sent.*\nLeave it out of info"):
        fit(est, ratings, info={"lock": threading.Lock()})
    with pytest.raises(InvalidInputError, match="StringIndexer"):
        strings = ratings.withColumn("user", F.col("user").cast("string"))
        fit(est, strings)


def test_an_untrained_model_predicts_no_rows_or_says_what_it_lacks(
    spark: SparkSession, ratings: DataFrame
) -> None:
    nothing = ratings.where("user < 0")
    predicted = estimator().predict(nothing, feature_cols=FEATURES)
    assert predicted.collect() == [] and predicted.columns[-1] == "prediction"
    rows = spark.range(3).selectExpr("array(1f, 2f) a", "array(1f) b", "1f as label")
    est = estimator(model=lambda config: nn.Bilinear(2, 1, 1), loss=nn.MSELoss())
    with pytest.raises(RowsNeededError) as caught:
        est.predict(rows.where("label < 0"), feature_cols=["a", "b"])
    first, way = str(caught.value).splitlines()
    assert "no row" in first and first.endswith("the length of the arrays in ['a', 'b']")
    assert way == "Fit or load first, or pass rows"
    assert est.predict(rows, feature_cols=["a", "b"]).count() == 3
    assert est.predict(rows.where("label < 0"), feature_cols=["a", "b"]).collect() == []
