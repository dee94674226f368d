"""A profiled `fit` says where its time goes, and trains the same."""

import time

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import ADAM, columns, each_keras
from tests.frameworks.ranks import Data, same_on_all, train

pytestmark = pytest.mark.timeout(300)
PAUSE = 0.05


def slow(config):
    """A model whose step pauses."""
    import tensorflow as tf

    class Slow(models.keras_of(config).layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.numpy_function(pause, [x], tf.float32), x.shape)

    def pause(x):
        time.sleep(PAUSE)
        return x

    keras = models.keras_of(config)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(1)(Slow()(x)))
    model.compile("sgd", "mse")
    return model


def sleepy():
    """A callback that pauses after each step."""
    from tensorflow import keras

    class Sleepy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(PAUSE)

    return [Sleepy()]


@each_keras
@pytest.mark.parametrize("counts", [(103,), (50, 53)])
def test_same_numbers_and_all_steps_but_the_first_call(ranks, keras, counts):
    data = Data.of(columns(), counts, features=("x", "u"))
    common = {"batch_size": 10, "epochs": 2, "config": {"keras": keras, "optimizer": ADAM}}
    plain = train(ranks, models.embedded, data, validation=data, **common)
    timed = train(ranks, models.embedded, data, validation=data, profile=True, **common)
    same_on_all(timed)
    for name, value in plain[0].weights().items():
        np.testing.assert_allclose(timed[0].weights()[name], value, rtol=1e-6, atol=1e-7)
    for ran in timed:
        timings = ran.timings
        assert 20 <= timings.steps <= 21
        assert timings.parts["compute"] > 0
        assert (timings.parts["exchange"] > 0) == (len(counts) > 1)
        assert sum(timings.parts.values()) <= timings.phases["epochs"]
        assert timings.phases["of which validation"] <= timings.phases["epochs"]


def test_what_is_slow_is_named(ranks):
    data = Data.of(columns(), (103,), features=("x",))
    (ran,) = train(ranks, slow, data, batch_size=10, epochs=2, config={"keras": 2}, profile=True)
    assert ran.timings.parts["compute"] >= 0.9 * PAUSE * ran.timings.steps
    assert ran.timings.parts["feed"] <= 0.2 * PAUSE * ran.timings.steps
    common = {"batch_size": 10, "epochs": 2, "config": {"keras": 2}, "profile": True}
    (ran,) = train(ranks, models.normalised, data, make_callbacks=sleepy, **common)
    assert ran.timings.parts["callbacks"] >= 0.9 * PAUSE * ran.timings.steps
