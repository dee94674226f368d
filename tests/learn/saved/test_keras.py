"""Keras models that are there already: predicted, evaluated and trained on as Keras itself does."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from zoo.orca.errors import InvalidInputError, ModelError, StateError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 64
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5]).astype(np.float32)
DATA = {"x": X, "y": Y}
WHOLE = {"batch_size": ROWS, "verbose": 0}  # one step an epoch: the order of rows plays no part


def estimator(framework: str) -> Any:
    if framework == "tf2":
        from zoo.orca.learn.tf2 import Estimator as TF2

        return TF2
    from zoo.orca.learn.keras import Estimator as Keras

    return Keras


def options(framework: str) -> dict[str, Any]:
    return {"num_workers": 2} | ({"keras_backend": "jax"} if framework == "keras" else {})


def package(framework: str) -> ModuleType:
    if framework == "tf2":
        import tf_keras

        return tf_keras
    import keras

    return keras


def trained(keras: ModuleType) -> Any:
    """A model after five steps of Adam, whose moments and rate are no longer those of a new one."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    model.fit(X, Y, epochs=5, **WHOLE)
    return model


def saved(model: Any, kind: str, directory: Path) -> Any:
    """The model itself, or a path of it."""
    if kind == "object":
        return model
    path = directory / kind
    model.save(path, **({"save_format": "tf"} if kind == "model" else {}))
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize(
    ("framework", "kind"),
    [
        ("tf2", "m.keras"),
        ("tf2", "m.h5"),
        ("tf2", "model"),
        ("tf2", "object"),
        ("keras", "m.keras"),
        ("keras", "object"),
    ],
)
def test_a_model_is_predicted_evaluated_and_trained_on(
    spark: SparkSession, tmp_path: Path, framework: str, kind: str
) -> None:
    keras = package(framework)
    model = trained(keras)
    est = estimator(framework).from_saved(saved(model, kind, tmp_path), **options(framework))
    expected = model.predict(X, verbose=0)
    found = est.predict({"x": X}, feature_cols=["x"])["prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    told = est.evaluate(DATA, **WHOLE)
    loss, error = model.evaluate(X, Y, **WHOLE)
    assert told["validation_loss"] == pytest.approx(loss, rel=1e-5)
    assert told["validation_mae"] == pytest.approx(error, rel=1e-5)
    ours = est.fit(DATA, epochs=3, **WHOLE).history["loss"]
    theirs = model.fit(X, Y, epochs=3, **WHOLE).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    est.save(str(tmp_path / "state"))
    again = estimator(framework).from_saved(saved(model, kind, tmp_path), **options(framework))
    again.load(str(tmp_path / "state"))
    for mine, other, one in zip(
        est.get_model().get_weights(),
        again.get_model().get_weights(),
        model.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(mine, one, rtol=1e-4, atol=1e-5)


def test_a_model_without_compile_predicts_and_is_compiled_by_arguments(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = saved(trained(package("tf2")), "m.keras", tmp_path)
    est = estimator("tf2").from_saved(path, compile=False)
    assert est.predict({"x": X}, feature_cols=["x"])["prediction"].shape == (ROWS, 1)
    with pytest.raises(ModelError, match="compile"):
        est.fit(DATA, **WHOLE)
    est = estimator("tf2").from_saved(
        path, compile=False, compile_args_creator=lambda config: {"optimizer": "sgd", "loss": "mse"}
    )
    assert "loss" in est.fit(DATA, **WHOLE).history


def own_layer(keras: ModuleType) -> Any:
    class Doubled(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2.0

    return Doubled


def test_classes_of_a_models_layers_travel_with_it(spark: SparkSession, tmp_path: Path) -> None:
    keras = package("tf2")
    doubled = own_layer(keras)
    model = keras.Sequential([keras.Input((3,)), doubled()])
    est = estimator("tf2").from_saved(model)
    np.testing.assert_allclose(est.predict({"x": X}, feature_cols=["x"])["prediction"], 2 * X)
    path = saved(model, "own.keras", tmp_path)
    with pytest.raises(StateError, match="made with 'Doubled'") as caught:
        estimator("tf2").from_saved(path)
    assert "from_saved(path, custom_objects={'Doubled': Doubled})" in str(caught.value)
    est = estimator("tf2").from_saved(path, custom_objects={"Doubled": doubled})
    np.testing.assert_allclose(est.predict({"x": X}, feature_cols=["x"])["prediction"], 2 * X)


@pytest.mark.parametrize("framework", ["tf2", "keras"])
def test_a_lambda_runs_only_where_it_is_trusted(
    spark: SparkSession, tmp_path: Path, framework: str
) -> None:
    keras = package(framework)
    tripled = keras.layers.Lambda(lambda x: x * 3.0)
    model = keras.Sequential([keras.Input((3,)), tripled])
    for given in (model, saved(model, "lambda.keras", tmp_path)):
        with pytest.raises(StateError, match="has a Lambda layer") as caught:
            estimator(framework).from_saved(given, **options(framework))
        assert "from_saved(path, safe_mode=False)" in str(caught.value)
    est = estimator(framework).from_saved(given, safe_mode=False, **options(framework))
    found = est.predict({"x": X}, feature_cols=["x"])["prediction"]
    np.testing.assert_allclose(found, 3 * X, rtol=1e-6)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    tf2, keras = estimator("tf2"), estimator("keras")
    with pytest.raises(InvalidInputError, match="a path or a keras.Model, got function"):
        tf2.from_saved(trained)
    with pytest.raises(InvalidInputError, match="takes no model_creator"):
        tf2.from_saved("m.keras", model_creator=trained)
    with pytest.raises(InvalidInputError, match="no file of a Keras model"):
        tf2.from_saved(tmp_path / "nothing")
    model = package("tf2").Sequential([package("tf2").Input((3,))])
    with pytest.raises(InvalidInputError, match=r"of Keras 2.*\n.*zoo.orca.learn.tf2"):
        keras.from_saved(model, keras_backend="jax")

    class Unbuilt(package("tf2").Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(ModelError, match=r"cannot be saved.*\n.*from_keras\(model_creator"):
        tf2.from_saved(Unbuilt())
