"""Rows of every form through Keras and PyTorch, and over Spark Connect."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from zoo.orca.data import XShards

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 203
X = (np.arange(ROWS * 4).reshape(ROWS, 4) % 11) / 11
Y = X @ [1.0, -1.0, 0.5, 0.25]
TABLE = pa.table({"x": list(X), "y": Y})
COMMON = {"batch_size": 20, "verbose": 0}
NAMED = {"feature_cols": ["x"], "label_cols": ["y"], **COMMON}


def of_keras(config: dict[str, Any]) -> Any:
    import tf_keras

    return layers_of(tf_keras)


def of_keras_3(config: dict[str, Any]) -> Any:
    import keras

    return layers_of(keras)


def layers_of(keras: Any) -> Any:
    keras.utils.set_random_seed(5)
    layers = [keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def of_torch(config: dict[str, Any]) -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0))


def optimizer(model: Any, config: dict[str, Any]) -> Any:
    import torch

    return torch.optim.Adam(model.parameters())


def estimator(framework: str, workers: int = 2) -> Any:
    if framework == "torch":
        from torch import nn

        from zoo.orca.learn.pytorch import Estimator as Torch

        return Torch.from_torch(
            model=of_torch, optimizer=optimizer, loss=nn.MSELoss(), num_workers=workers
        )
    if framework == "keras":
        from zoo.orca.learn.keras import Estimator as Keras3

        return Keras3.from_keras(model_creator=of_keras_3, num_workers=workers, keras_backend="jax")
    from zoo.orca.learn.tf2 import Estimator as TF2

    return TF2.from_keras(model_creator=of_keras, num_workers=workers)


def shaped(predicted: Any) -> np.ndarray:
    """Predictions of any form as one array, a row each."""
    if isinstance(predicted, XShards):
        shards = predicted.collect()
        values = [one for shard in shards for one in np.asarray(shard["prediction"])]
    else:
        values = predicted["prediction"]
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    return np.array([np.asarray(one) for one in values]).reshape(ROWS)


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf2", marks=pytest.mark.thorough)])
def test_every_form_trains_and_predicts_as_the_dataframe(
    spark: SparkSession, framework: str
) -> None:
    # So many partitions that its rows move to the workers as those from outside do.
    frame = spark.createDataFrame(TABLE).repartition(5)
    plain = estimator(framework)
    history = plain.fit(frame, epochs=2, validation_data=frame, **NAMED).history
    told = plain.evaluate(frame, **NAMED)
    expected = np.empty(ROWS)
    rows = plain.predict(frame.withColumn("key", F.col("x")), feature_cols=["x"]).toPandas()
    by_row = {tuple(row.key): row.prediction for row in rows.itertuples()}
    expected[:] = [float(np.asarray(by_row[tuple(row)]).reshape(())) for row in X.tolist()]

    outside = {
        "pandas": (TABLE.to_pandas().set_index(pd.Index(range(ROWS))[::-1]), NAMED),
        "arrow": (TABLE, NAMED),
        "arrays": ({"x": X, "y": Y}, COMMON),
        "shards of arrays": (XShards.partition({"x": X, "y": Y}, 3), COMMON),
        "shards of frames": (XShards.partition(TABLE.to_pandas(), 5), NAMED),
    }
    for name, (data, given) in outside.items():
        est = estimator(framework)
        stats = est.fit(data, epochs=2, validation_data=frame, **{**NAMED, **given})
        assert list(stats.history) == list(history)
        for figure, values in history.items():
            assert stats.history[figure] == pytest.approx(values, rel=1e-6), (name, figure)
        assert est.evaluate(data, **given) == pytest.approx(told, rel=1e-6), name
        predicted = est.predict(data)
        assert type(predicted) is type(data)
        np.testing.assert_allclose(shaped(predicted), expected, rtol=1e-5, atol=1e-6, err_msg=name)
    one = estimator(framework, workers=1)
    alone = one.fit({"x": X, "y": Y}, epochs=2, **COMMON)
    assert alone.history["loss"] == pytest.approx(history["loss"], rel=1e-4)


PROGRAM = """
import json
import numpy as np
from tests.fake_estimator import FakeEstimator, linear
from tests.learn.test_forms import TABLE, X, Y, of_creator
from tests.over_connect import connect_session
from zoo.orca.data import XShards
from zoo.orca.learn.forms import tables

spark = connect_session("local[4]")
frame = spark.createDataFrame(TABLE).repartition(5)
plain = FakeEstimator.of(linear(4), workers=2)
history = plain.fit(frame, epochs=2, validation=frame).history
# Whatever the server's limit for what a message holds: then rows go as files of their own.
for limit in (None, "1"):
    if limit:
        spark.conf.set("spark.sql.session.localRelationCacheThreshold", limit)
        tables._SERVER_BYTES = TABLE.nbytes // 3
    for data in (TABLE, TABLE.to_pandas(), {"x": X, "y": Y}):
        est = FakeEstimator.of(linear(4), workers=2)
        stats = est.fit(data, epochs=2, validation=frame)
        np.testing.assert_allclose(stats.history["val_loss"], history["val_loss"], rtol=1e-6)
        np.testing.assert_array_equal(est.weights, plain.weights)
        found = est.predict(data)
        assert type(found) is type(data)
        values = np.asarray(found["prediction"])
        np.testing.assert_allclose(values, X.astype("float32") @ est.weights, rtol=1e-5, atol=1e-6)
shards = XShards.partition({"x": X, "y": Y}, 3)
est = FakeEstimator.of(linear(4), workers=2)
est.fit(shards, epochs=2, validation=frame)
np.testing.assert_array_equal(est.weights, plain.weights)
found = np.concatenate([one["prediction"] for one in est.predict(shards).collect()])
np.testing.assert_allclose(found.reshape(-1), values, rtol=1e-6)
lazy = frame.pandas_api()
found = plain.predict(lazy)
assert type(found) is type(lazy) and len(found) == len(X)
print("all forms are equal")
told = of_creator()
print()  # behind what calls show
print(json.dumps(told))
spark.stop()
"""


def loader(config: dict[str, Any], batch_size: int) -> Any:
    """A creator: the same rows, shuffled by the loader."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    rows = TensorDataset(*(torch.from_numpy(one.astype("float32")) for one in (X, Y)))
    return DataLoader(rows, batch_size=batch_size, shuffle=True)


def features(config: dict[str, Any], batch_size: int) -> Any:
    """A creator of the rows' features, in order."""
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(torch.from_numpy(X.astype("float32")), batch_size=batch_size)


def of_creator() -> Any:
    """What a fit, an evaluation and a prediction of creators come to."""
    est = estimator("torch")
    stats = est.fit(loader, epochs=2, batch_size=20, validation_data=loader, verbose=0)
    told = {**stats.history, **est.evaluate(loader, batch_size=20)}
    return {**told, "predicted": est.predict(features, batch_size=50).tolist()}


@pytest.mark.classic("its program runs over Spark Connect already")
def test_forms_over_spark_connect(spark: SparkSession) -> None:
    run = [sys.executable, "-c", PROGRAM]
    # The server's workers are this Python, not the first one on the path.
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    found = subprocess.run(run, capture_output=True, text=True, timeout=280, env=environment)
    assert "all forms are equal\n" in found.stdout, found.stderr
    expected, seen = of_creator(), json.loads(found.stdout.splitlines()[-1])
    assert list(seen) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(seen[name], values, rtol=1e-6, err_msg=name)
    assert len(expected["predicted"]) == ROWS
