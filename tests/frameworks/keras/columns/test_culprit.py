"""A broken picture, or a word that is no number, is named with its row."""

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import each_keras
from tests.frameworks.ranks import Data, Failed, evaluate, predict_job, predicted, train
from zoo.orca.errors import DataError

pytestmark = pytest.mark.timeout(300)

ROWS, BROKEN = 700, 267


def pictures(config):
    """Reads a picture's bytes inside the model."""
    import tensorflow as tf

    keras = models.keras_of(config)

    class Pictures(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(1)

        def call(self, inputs):
            picture, _ = inputs
            pixels = tf.map_fn(
                lambda one: tf.cast(tf.io.decode_png(one[0], channels=1), tf.float32),
                picture,
                fn_output_signature=tf.TensorSpec((None, None, 1), tf.float32),
            )
            return self.out(tf.reduce_mean(pixels, (1, 2)))

    model = Pictures()
    model.compile("sgd", "mse")
    return model


def rows(broken):
    """Pictures of one pixel, one of them cut short."""
    import tensorflow as tf

    png = tf.io.encode_png(np.zeros((1, 1, 1), np.uint8)).numpy()
    found = np.full(ROWS, png, object)
    if broken:
        found[BROKEN] = b"no picture"
    number = np.arange(ROWS, dtype=np.float32)
    return {"picture": found, "n": number, "y": number / ROWS}


def data(counts, broken=True):
    return Data.of(rows(broken), counts, features=("picture", "n"))


@each_keras
@pytest.mark.parametrize("counts", [(ROWS,), (300, ROWS - 300)])
def test_training_names_the_row(ranks, keras, counts):
    fields = {"config": {"keras": keras}, "batch_size": 64}
    assert_named(lambda: train(ranks, pictures, data(counts), **fields))
    good = data(counts, broken=False)
    assert_named(lambda: train(ranks, pictures, good, validation=data(counts), **fields))
    trained = train(ranks, pictures, good, **fields)[0].trained
    assert_named(lambda: evaluate(ranks, pictures, data(counts), state=trained.state, **fields))


@each_keras
def test_predictions_name_the_row(ranks, keras):
    whole = data((ROWS,))
    job = predict_job(pictures, whole.spec, config={"keras": keras})
    assert_named(lambda: ranks.alone(predicted, job, whole.shards[0]))


def assert_named(function):
    with pytest.raises(Failed) as caught:
        function()
    assert caught.value.kind is DataError, caught.value
    first, second = caught.value.message.splitlines()
    assert first.startswith("the model cannot read column 'picture': ")
    assert "in the row {'picture': 'no picture'}" in first
    assert second.startswith("Mend or drop rows like it")
