"""The original's calls that save and load Keras models, each equal to a model's own creator."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca.errors import InvalidInputError, StateError
from zoo.orca.learn.tf2 import Estimator
from zoo.orca.learn.trigger import SeveralIteration

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COLUMNS = {"feature_cols": ["x"], "label_cols": ["y"]}


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """96 rows of three numbers and one."""
    return spark.range(96).select(
        "id",
        F.array(F.rand(1).cast("float"), F.rand(2).cast("float"), F.rand(3).cast("float")).alias(
            "x"
        ),
        F.rand(4).cast("float").alias("y"),
    )


def small(config):
    import tf_keras as keras

    layers = [keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def still(config):
    model = small(config)
    model.compile("sgd", "mse")
    model.optimizer.learning_rate.assign(0.0)
    return model


def fit(est: Estimator, rows: DataFrame, **more):
    return est.fit(rows, 1, 16, verbose=0, **COLUMNS, **more)


def weights(est: Estimator) -> list[np.ndarray]:
    return est.get_model().get_weights()


def same(mine: list[np.ndarray], other: list[np.ndarray]) -> None:
    for one, two in zip(mine, other, strict=True):
        np.testing.assert_array_equal(one, two)


class Saved:
    """A model after an epoch, its files, and what another epoch makes of it."""

    def __init__(self, rows: DataFrame, directory: Path) -> None:
        self.est = Estimator.from_keras(model_creator=small, num_workers=2)
        self.stats = fit(self.est, rows)
        self.weights = weights(self.est)
        self.evaluated = self.est.evaluate(rows, verbose=0, **COLUMNS)
        self.paths = {
            name: self.est.save(str(directory / name), save_format=kind)
            for name, kind in (("m.keras", None), ("m.h5", None), ("model", "tf"), ("odd", "h5"))
        }
        again = Estimator.from_keras(model_creator=small, num_workers=2)
        again.load(self.paths["m.keras"])
        fit(again, rows)
        self.later = weights(again)


@pytest.fixture(scope="module")
def saved(rows: DataFrame, tmp_path_factory) -> Saved:
    return Saved(rows, tmp_path_factory.mktemp("saved"))


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "model", "odd"])
def test_a_file_is_the_model_where_there_is_no_creator(saved: Saved, rows, name: str) -> None:
    est = Estimator.from_keras(num_workers=2)
    with pytest.raises(InvalidInputError, match=r"no model yet.*\nCall load\(path\) of a file"):
        est.predict(rows, feature_cols=["x"])
    est.load(saved.paths[name])
    same(weights(est), saved.weights)
    if name == "odd":
        return
    assert est.evaluate(rows, verbose=0, **COLUMNS) == pytest.approx(saved.evaluated, rel=1e-6)
    if name in ("m.keras", "model"):  # the two ways to read an optimizer
        stats = fit(est, rows)
        for mine, other in zip(weights(est), saved.later, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)
        assert stats.history.keys() == saved.stats.history.keys()
    if name != "model":
        return
    model = est.get_model()
    found = est.predict(rows, feature_cols=["x"]).toPandas()
    guesses = np.stack([one.toArray() for one in found["prediction"]])
    inputs = np.stack(found["x"])
    np.testing.assert_allclose(guesses, model.predict(inputs, verbose=0), atol=1e-6)


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "model"])
def test_a_file_gives_its_weights_where_there_is_one(saved: Saved, name: str) -> None:
    est = Estimator.from_keras(model_creator=small)
    est.load(saved.paths[name])
    same(weights(est), saved.weights)
    assert est._state.meta["optimizers"] == {"": [0, 1, 2, 3]}
    est.load(saved.paths[name], compile=False)
    same(weights(est), saved.weights)
    assert est._state.meta["optimizers"] == {}


def test_weights_in_tensorflows_format_and_by_name(saved: Saved, rows, tmp_path: Path) -> None:
    prefix = str(tmp_path / "weights" / "w-1")
    saved.est.save_weights(prefix)
    assert sorted(one.name for one in (tmp_path / "weights").iterdir())[-1] == "w-1.index"
    assert Estimator.latest_checkpoint(str(tmp_path / "weights")) == prefix
    with pytest.raises(InvalidInputError, match="is there already, and overwrite is False"):
        saved.est.save_weights(prefix, overwrite=False)
    saved.est.save_weights(str(tmp_path / "w.h5"))
    saved.est.save_weights(str(tmp_path / "any"), save_format="h5")
    for path in (prefix, str(tmp_path / "w.h5"), str(tmp_path / "any")):
        est = Estimator.from_keras(model_creator=small)
        est.load_weights(path)
        same(weights(est), saved.weights)

    def other(config):
        import tf_keras as keras

        layers = [keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(2, name="new")]
        return keras.Sequential([keras.Input((3,)), *layers])

    est = Estimator.from_keras(model_creator=other)
    est.load_weights(str(tmp_path / "w.h5"), by_name=True)
    same(weights(est)[:2], saved.weights[:2])
    with pytest.raises(StateError, match=f"^{prefix} does not hold weights of this model"):
        est.load_weights(prefix)
    with pytest.raises(InvalidInputError, match=r"by_name reads \.h5 files alone"):
        est.load_weights(prefix, by_name=True)


def test_before_fit_the_model_as_it_was_made_is_saved(rows, tmp_path: Path) -> None:
    """What is saved is what a fit would begin with."""
    est = Estimator.from_keras(model_creator=still, num_workers=2, seed=3)
    paths = [est.save(str(tmp_path / name)) for name in ("state", "m.keras")]
    fit(est, rows)
    for path in paths:
        loaded = Estimator.from_keras(model_creator=still)
        loaded.load(path)
        same(weights(loaded), weights(est))


def test_what_is_left_out_of_a_file(saved: Saved, tmp_path: Path) -> None:
    for name in ("m.keras", "m.h5", "state"):
        path = saved.est.save(str(tmp_path / name), include_optimizer=False)
        est = Estimator.from_keras(model_creator=small)
        est.load(path)
        same(weights(est), saved.weights)
        if name == "state":
            assert est._state.meta["optimizers"] == {}
    with pytest.raises(InvalidInputError, match="overwrite is False"):
        saved.est.save(path, overwrite=False)
    bare = saved.est.get_model(set_weights=False)
    assert any((a != b).any() for a, b in zip(bare.get_weights(), saved.weights, strict=True))
    est.load_checkpoint(saved.est.save_checkpoint(str(tmp_path / "checkpoint.h5")))
    assert est._state.meta["epoch"] == 1


def _doubled():
    import tf_keras as keras

    class Doubled(keras.layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    return Doubled


def squared(true, predicted):
    return (true - predicted) ** 2


def test_classes_of_ones_own_are_passed(rows, tmp_path: Path) -> None:
    doubled = _doubled()

    def creator(config):
        import tf_keras as keras

        model = keras.Sequential([keras.Input((3,)), doubled(1)])
        model.compile("sgd", squared)
        return model

    path = str(tmp_path / "own.keras")
    creator({}).save(path)
    est = Estimator.from_keras(num_workers=1)
    with pytest.raises(StateError, match="made with 'Doubled'") as caught:
        est.load(path)
    assert "custom_objects={'Doubled': Doubled}" in str(caught.value)
    est.load(path, custom_objects={"Doubled": doubled, "squared": squared})
    model = est.get_model()
    found = est.evaluate(rows, verbose=0, **COLUMNS)
    local = rows.toPandas()
    expected = model.evaluate(np.stack(local["x"]), local["y"].to_numpy()[:, None], verbose=0)
    assert found == {"validation_loss": pytest.approx(expected, rel=1e-5)}


def test_checkpoints_end_where_the_driver_looks(rows, tmp_path: Path, monkeypatch) -> None:
    from tf_keras.callbacks import ModelCheckpoint

    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    url = (tmp_path / "there").as_uri() + "/{epoch}/m.keras"
    model_dir = str(tmp_path / "model_dir")
    est = Estimator.from_keras(model_creator=small, num_workers=2, model_dir=model_dir)
    callbacks = [ModelCheckpoint("here/m-{epoch}.keras"), ModelCheckpoint(url)]
    fit(est, rows, callbacks=callbacks, checkpoint_trigger=SeveralIteration(3))
    written = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*.keras"))
    assert written == ["here/m-1.keras", "there/1/m.keras"]
    assert Estimator.latest_checkpoint(model_dir) == f"{model_dir}/model.6.safetensors"
    for path in (*written, Estimator.latest_checkpoint(model_dir)):
        other = Estimator.from_keras(model_creator=small)
        other.load(path)
        same(weights(other), weights(est))
