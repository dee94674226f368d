"""`zoo.orca.learn.keras.Estimator` through Spark."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from zoo.orca.errors import InvalidInputError, MissingPackageError, StateError
from zoo.orca.learn.keras import Estimator
from zoo.orca.learn.keras.backend import checked_backend
from zoo.orca.wire.packing import State

pytestmark = pytest.mark.timeout(300)


def creator(config):
    import keras

    x = keras.Input((2,), name="x")
    hidden = keras.ops.tanh(keras.layers.Dense(4)(x))
    model = keras.Model(x, keras.layers.Dense(1)(hidden))
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


@pytest.fixture(scope="module")
def rows(spark: SparkSession):
    one = F.array((F.col("id") % 7) / 7, (F.col("id") % 5) / 5).cast("array<float>")
    frame = spark.range(400).select("id", one.alias("x"))
    return frame.withColumn("y", (F.col("x")[0] - F.col("x")[1]).cast("float")).cache()


@pytest.mark.slow
def test_a_day_of_a_user(rows, tmp_path):
    """With JAX; tests/frameworks/test_one_extra.py has a day with each backend."""
    backend = "jax"
    est = Estimator.from_keras(model_creator=creator, num_workers=2, keras_backend=backend)
    common = {"batch_size": 40, "feature_cols": ["x"], "label_cols": ["y"], "verbose": 0}
    stats = est.fit(rows, epochs=2, validation_data=rows, profile=True, **common)
    assert stats.history["loss"][1] < stats.history["loss"][0]
    assert stats["train_val_loss"] == stats.history["val_loss"][-1]
    found = est.evaluate(rows, **common)
    assert found["validation_loss"] == pytest.approx(stats.history["val_loss"][-1], rel=1e-5)
    predicted = est.predict(rows, feature_cols=["x"]).toPandas()
    error = np.mean(
        [(p[0] - y) ** 2 for p, y in zip(predicted.prediction, predicted.y, strict=True)]
    )
    assert error == pytest.approx(found["validation_loss"], rel=1e-4)
    state, model = str(tmp_path / "state"), str(tmp_path / "model.keras")
    est.save(state)
    answer = in_a_process_of_its_own(backend, state, model)
    assert answer["backend"] == backend
    x = np.stack(predicted.x)
    np.testing.assert_allclose(
        np.array(answer["predicted"])[:, 0], [p[0] for p in predicted.prediction[:3]], rtol=1e-4
    )
    assert x.shape == (400, 2)
    again = Estimator.from_keras(model_creator=creator, num_workers=2, keras_backend=backend)
    again.load(state)
    bare = Estimator.from_keras(num_workers=2, keras_backend=backend)
    bare.load(model)
    assert bare.evaluate(rows, **common) == pytest.approx(found, rel=1e-5)
    with pytest.raises(InvalidInputError, match="which only Keras 2 has"):
        bare.save(str(tmp_path / "saved"), save_format="tf")
    once = again.fit(rows, epochs=1, **common).history
    assert once == est.fit(rows, epochs=1, **common).history


def in_a_process_of_its_own(backend: str, state: str, model: str) -> dict:
    """Save the model in Keras's format, and predict with Keras alone: a driver of this backend."""
    program = f"""
import json, numpy as np, sys
sys.path.insert(0, {sys.path[0]!r})
from tests.learn.test_keras import creator
from zoo.orca.learn.keras import Estimator
est = Estimator.from_keras(model_creator=creator, keras_backend={backend!r})
est.load({state!r})
est.save({model!r})
est.load({model!r})
x = np.array([[(i % 7) / 7, (i % 5) / 5] for i in range(3)], np.float32)
import keras
predicted = keras.models.load_model({model!r}).predict(x, verbose=0)
assert np.allclose(predicted, est.get_model().predict(x, verbose=0))
print(json.dumps({{"backend": keras.backend.backend(), "predicted": predicted.tolist()}}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_the_backend_is_what_keras_is_set_to(monkeypatch, tmp_path):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert checked_backend(None) == "tensorflow"
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    assert checked_backend(None) == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert checked_backend(None) == "jax"
    assert checked_backend("tensorflow") == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    with pytest.raises(InvalidInputError, match="variable KERAS_BACKEND must be one of"):
        checked_backend(None)
    with pytest.raises(InvalidInputError, match="keras_backend must be one of .* got 'mxnet'"):
        Estimator.from_keras(model_creator=creator, keras_backend="mxnet")


def test_jax_keeps_workers_to_their_cores_unless_told_otherwise():
    def bound(**arguments):
        made = Estimator.from_keras(model_creator=creator, **arguments)
        return made._options.cpu_binding

    assert bound(keras_backend="jax") is True
    assert bound(keras_backend="jax", cpu_binding=False) is False
    assert bound(keras_backend="torch") is False


def test_a_framework_that_the_driver_lacks_is_named(monkeypatch):
    est = Estimator.from_keras(model_creator=creator, keras_backend="jax")

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("zoo.orca.learn.keras_files.importlib.import_module", missing)
    with pytest.raises(MissingPackageError, match=r"pip install 'zoo-orca\[keras\]'"):
        est.get_model()


def test_weights_in_the_home_directory_are_not_written_over(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.weights.h5").write_bytes(b"kept")
    est = Estimator.from_keras(model_creator=creator, keras_backend="jax")
    est._state = State({}, {})
    monkeypatch.setattr("zoo.orca.learn.keras_files._written", lambda *given: written.append(given))
    # A process imports Keras 3 once, and other tests of this one need it on TensorFlow.
    package = SimpleNamespace(save_weights=None)
    monkeypatch.setattr("zoo.orca.learn.keras_files._models", lambda what, job: package)
    written = []
    with pytest.raises(InvalidInputError, match="is there already, and overwrite is False"):
        est.save_weights("~/w.weights.h5", overwrite=False)
    assert not written
    with pytest.raises(InvalidInputError, match="is there already, and overwrite is False"):
        est.save_weights(f"file://{tmp_path}/w.weights.h5", overwrite=False)
    est.save_weights("~/other.weights.h5", overwrite=False)
    est.save_weights("~/w.weights.h5")
    assert [path for _, path, _ in written] == ["~/other.weights.h5", "~/w.weights.h5"]


def test_nothing_to_save(monkeypatch):
    monkeypatch.setattr("zoo.orca.learn.files.made.known_session", lambda: None)
    with pytest.raises(StateError, match=r"nothing to save yet.*\nCall init_orca_context\(\)"):
        Estimator.from_keras(model_creator=creator, keras_backend="jax").save("model.keras")


LAMBDA = """
import os
import sys
from pathlib import Path

import keras
import numpy as np
from zoo.orca.learn.keras import Estimator

directory = Path(sys.argv[1])
ran = str(directory / "ran")
os.environ["RAN"] = ran
# Keras stores a lambda as bytecode, which may name nothing of this program.
note = lambda x: (__import__("pathlib").Path(__import__("os").environ["RAN"]).touch(), x)[1]

def creator(config):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

layer = keras.layers.Lambda(note, output_shape=(1,))
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1), layer])
model.layers[0].set_weights([np.array([[3.0]]), np.array([4.0])])
model.compile("sgd", "mse")
for name in ("model.keras", "model.h5"):
    path = str(directory / name)
    model.save(path)
    Path(ran).unlink(missing_ok=True)
    est = Estimator.from_keras(model_creator=creator, keras_backend="jax")
    est.load(path)
    assert not Path(ran).exists()
    assert [w.tolist() for w in est.get_model().get_weights()] == [[[3.0]], [4.0]]
keras.models.load_model(str(directory / "model.keras"), safe_mode=False)(np.zeros((1, 1)))
assert Path(ran).exists()  # the file has code, which Keras runs when it is told to
"""


@pytest.mark.slow
def test_code_in_a_models_file_is_not_run(tmp_path):
    command = [sys.executable, "-c", LAMBDA, str(tmp_path)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert ended.returncode == 0, ended.stderr
