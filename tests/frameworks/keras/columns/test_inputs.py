"""What does not fit is refused, with the reason."""

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.keras.test_equal import columns, each_keras
from tests.frameworks.ranks import Data, Failed, train
from zoo.orca.errors import ModelError, StateError

pytestmark = pytest.mark.timeout(300)


def refused(ranks, creator, data, kind=ModelError, **fields):
    """The message with which every rank refuses."""
    with pytest.raises(Failed) as caught:
        train(ranks, creator, data, batch_size=20, **fields)
    assert caught.value.kind is kind, caught.value
    return caught.value.message


def of(features=("x",), counts=(103,), **more):
    return Data.of(columns(), counts, features=features, **more)


@pytest.mark.parametrize(
    ("result", "names"), [(None, "None"), ([1], "builtins.list"), ("keras", "builtins.str")]
)
def test_creator_returns_something_else(ranks, result, names):
    assert names in refused(ranks, lambda config: result, of())


def test_creator_raises(ranks):
    def creator(config):
        raise KeyError("no such vocabulary")

    assert "no such vocabulary" in refused(ranks, creator, of(), KeyError)


@each_keras
def test_not_compiled(ranks, keras):
    def creator(config):
        package = models.keras_of(config)
        return package.Sequential([package.Input((4,)), package.layers.Dense(1)])

    config = {"keras": keras}
    assert "not compiled" in refused(ranks, creator, of(), config=config)
    ran = train(
        ranks,
        creator,
        of(),
        batch_size=20,
        config=config,
        compile_args=lambda config: {"optimizer": "sgd", "loss": "mse"},
    )
    assert np.isfinite(ran[0].trained.history["loss"][0])


@each_keras
def test_shapes_and_numbers_of_columns(ranks, keras):
    config = {"keras": keras}
    message = refused(ranks, models.classifier, of(("y",)), config=config)
    assert "'y'" in message and "(None, 1)" in message and "(None, 4)" in message
    message = refused(ranks, models.classifier, of(("x", "u")), config=config)
    assert "1 input [" in message and "['x', 'u']" in message
    message = refused(ranks, models.embedded, of({"x": "x", "v": "u"}), config=config)
    assert "['u', 'x']" in message
    rows = {**columns(), "s": np.full(103, b"a", object)}
    data = Data.of(rows, (103,), features=("x", "s"))
    assert "string" in refused(ranks, models.embedded, data, config=config)


@each_keras
def test_inputs_by_name(ranks, keras):
    fields = {"batch_size": 20, "config": {"keras": keras}}
    by_name = train(ranks, models.embedded, of({"u": "u", "x": "x"}), **fields)
    by_place = train(ranks, models.embedded, of(("x", "u")), **fields)
    assert by_name[0].trained.history == by_place[0].trained.history


@each_keras
def test_state_of_another_model(ranks, keras):
    fields = {"config": {"keras": keras}}
    state = train(ranks, models.classifier, of(labels=("label",)), **fields)[0].trained.state
    data = of(("x", "u"))
    message = refused(ranks, models.embedded, data, StateError, state=state, **fields)
    assert "weights/" in message and "shape" in message


def test_callback_of_the_other_keras(ranks):
    def make():
        import keras

        return [keras.callbacks.EarlyStopping("loss")]

    data = of(("x", "u"))
    message = refused(ranks, models.embedded, data, config={"keras": 2}, make_callbacks=make)
    assert "EarlyStopping" in message and "tf_keras" in message


def test_optimizer_that_is_nowhere_to_be_found(ranks):
    def creator(config):
        import tensorflow as tf
        from tensorflow import keras

        hidden = keras.optimizers.SGD(0.1)

        class Model(keras.Model):
            def train_step(self, data):
                x, y = data
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((self(x) - y) ** 2)
                variables = self.trainable_variables
                gradients = tape.gradient(loss, variables)
                hidden.apply_gradients(zip(gradients, variables, strict=True))
                return {"loss": loss}

        x = keras.Input((4,))
        model = Model(x, keras.layers.Dense(1)(x))
        model.compile("sgd", "mse")
        return model

    assert "optimizer" in refused(ranks, creator, of(counts=(50, 53)))


def test_loss_that_cannot_be_put_together(ranks):
    def creator(config):
        from tensorflow import keras

        return models.embedded({"keras": 2, "loss": keras.losses.MeanSquaredError("none")})

    assert "reduction 'none'" in refused(ranks, creator, of(("x", "u"), (50, 53)))
