"""Predictions of every framework: each row its own, whatever the model returns and however called.

Models are functions of x, a batch of three numbers a row, with the operations that all frameworks
have under one name.
"""

# Annotations inside functions that travel to the ranks must not be looked up there.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.ranks import Failed, predict_job, predicted
from zoo.orca.errors import ModelError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

pytestmark = pytest.mark.timeout(300)

ROWS = 15
SPEC = FeatureSpec(features=(ColumnSpec(name="x", dtype="float32", shape=(3,)),))
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)


def operations(config: dict[str, Any]) -> Any:
    """Reshape, squeeze, mean over the first axis, and conversion to a dtype."""
    if config.get("keras") == 2:
        import tensorflow as tf

        return SimpleNamespace(
            reshape=tf.reshape, squeeze=tf.squeeze, mean=lambda x: tf.reduce_mean(x, 0), to=tf.cast
        )
    if config.get("keras") == 3:
        from keras import ops

        return SimpleNamespace(
            reshape=ops.reshape, squeeze=ops.squeeze, mean=lambda x: ops.mean(x, 0), to=ops.cast
        )
    import torch

    return SimpleNamespace(
        reshape=torch.reshape,
        squeeze=torch.squeeze,
        mean=lambda x: x.mean(0),
        to=lambda x, dtype: x.to(getattr(torch, dtype)),
    )


def model_of(config: dict[str, Any], function: Callable[[Any, Any], Any]) -> Any:
    """A model that is this function of x."""
    do = operations(config)
    if "keras" not in config:
        from torch import nn

        class Module(nn.Module):
            def forward(self, x: Any) -> Any:
                return function(do, x)

        return Module()
    keras = models.keras_of(config)

    class Model(keras.Model):
        def call(self, x: Any) -> Any:
            return function(do, x)

    return Model()


def job_of_model(bench: Any, function: Callable[[Any, Any], Any]) -> Any:
    """A job that predicts with a model that is this function of x."""
    creator = bench.family.of_model(lambda config: model_of(config, function))
    return predict_job(creator, SPEC, config=bench.config(), framework=bench.family.framework)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_squeezed_output_does_not_depend_on_calls(bench, batch_size):
    job = job_of_model(
        bench, lambda do, x: (do.squeeze(x[:, None, :]), do.squeeze(x[:, :1]), x[:, 0] * 2)
    )
    found, specs = bench.ranks.alone(predicted, replace(job, batch_size=batch_size), {"x": X})
    assert [one.row_shape for one in specs] == [(3,), (), ()]
    for ours, expected in zip(found, (X, X[:, 0], X[:, 0] * 2), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda do, x: do.reshape(x, (-1, 1)), "(6, 1) for 2 rows"),
        (lambda do, x: do.mean(x), "(3,) for 2 rows"),
        (lambda do, x: (x, do.mean(x[:, 0])), "() for 2 rows"),
    ],
)
def test_what_is_not_an_entry_a_row_is_a_problem(bench, function, problem):
    """A single row is as many as a mean is, and three are as many as it has numbers."""
    for rows in (1, 3):
        specs = bench.ranks.alone(built, job_of_model(bench, function), {"x": X[:rows]})
        assert problem in specs[-1].problem


def test_symbolic_outputs_are_compared_with_the_rows_of_each_call(bench):
    if bench.family.framework == "torch":
        pytest.skip("PyTorch has no symbolic outputs")

    def creator(config):
        keras = models.keras_of(config)
        x = keras.Input((3,))
        if config["keras"] == 3:
            return keras.Model(x, keras.ops.reshape(x, (-1, 1)))
        import tensorflow as tf

        return keras.Model(x, tf.reshape(x, (-1, 1)))

    job = predict_job(creator, SPEC, config=bench.config(), framework=bench.family.framework)
    for rows in (1, ROWS):
        with pytest.raises(Failed) as caught:
            bench.ranks.alone(predicted, job, {"x": X[:rows]})
        assert caught.value.kind is ModelError and "one entry a row" in caught.value.message


def built(job, columns):
    from tests.frameworks.ranks import plugin_of

    return plugin_of(job).build(job, columns).outputs


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int32", [16777217, -1, 0]),
        ("int64", [1099511627777, 16777217, -5]),
        ("bool", [True, False, True]),
        ("float64", [0.1, 1e300, -1.0]),
        ("uint8", [255, 0, 7]),
    ],
)
def test_dtypes_and_values_are_kept(bench, dtype, values):
    """By looking the values up, as retrieval models do with ids."""
    family = bench.family
    if "64" in dtype and family.environment.get("KERAS_BACKEND") == "jax":
        pytest.skip("JAX has 32 bits")
    table = np.array(values, dtype)

    def creator(config):
        if "keras" not in config:
            import torch

            class Lookup(torch.nn.Module):
                def forward(self, x):
                    return torch.from_numpy(table.copy())[x.argmax(1)]

            return Lookup()
        keras = models.keras_of(config)

        class Model(keras.Model):
            def call(self, x):
                if config["keras"] == 2:
                    import tensorflow as tf

                    return tf.gather(tf.constant(table), tf.argmax(x, 1))
                ops = keras.ops
                known = ops.convert_to_tensor(table, dtype=dtype)
                return ops.take(known, ops.argmax(x, axis=1), axis=0)

        return Model()

    job = predict_job(
        family.of_model(creator), SPEC, config=bench.config(), framework=family.framework
    )
    (found,), (spec,) = bench.ranks.alone(predicted, job, {"x": X})
    assert spec.dtype == dtype and found.dtype == dtype
    np.testing.assert_array_equal(found, table[X.argmax(1)])


def test_states_of_an_lstm_are_named(bench):
    def creator(config):
        if "keras" not in config:
            import torch

            class Recurrent(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.inner = torch.nn.LSTM(1, 4, batch_first=True)

                def forward(self, x):
                    return self.inner(x[..., None])

            return Recurrent()
        keras = models.keras_of(config)
        x = keras.Input((3,))
        states = keras.layers.LSTM(4, return_state=True)(keras.layers.Reshape((3, 1))(x))
        return keras.Model(x, states)

    family = bench.family
    job = predict_job(
        family.of_model(creator), SPEC, config=bench.config(), framework=family.framework
    )
    specs = bench.ranks.alone(built, job, {"x": X})
    if family.framework == "torch":
        assert [bool(one.problem) for one in specs] == [False, True, True]
        assert "'output_1_output_0' has shape (1, 2, 4) for 2 rows" in specs[1].problem
    else:  # Keras's states have the rows as their first axis
        assert not any(one.problem for one in specs)
        assert bench.ranks.alone(predicted, job, {"x": X})[0][2].shape == (ROWS, 4)


@pytest.mark.parametrize(("end", "threshold"), [("sigmoid", 0.5), (None, None), ("tanh", None)])
def test_what_decides_is_told_by_the_last_activation(bench, end, threshold):
    """No activation tells nothing without a loss: a regression has none, either."""

    def creator(config):
        if "keras" not in config:
            from torch import nn

            ends = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, None: nn.Identity}
            return nn.Sequential(nn.Linear(3, 1), nn.Sequential(ends[end]()))
        keras = models.keras_of(config)
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation=end)])

    family = bench.family
    job = predict_job(
        family.of_model(creator), SPEC, config=bench.config(), framework=family.framework
    )
    (spec,) = bench.ranks.alone(built, job, {"x": X})
    assert spec.threshold == threshold
