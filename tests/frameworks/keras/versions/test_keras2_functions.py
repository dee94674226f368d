"""Keras 2's functions of several steps: traced once each, with the numbers of Keras's own."""

import numpy as np
import pytest

pytest.importorskip("tf_keras")
pytestmark = pytest.mark.timeout(300)

ROWS, BATCH = 70, 10


def two_outputs(loss):
    """A model with two outputs, metrics of all kinds and weights of losses."""
    import tf_keras

    x = tf_keras.Input((3,), name="x")
    hidden = tf_keras.layers.Dense(4, activation="tanh")(x)
    a = tf_keras.layers.Dense(1, name="a")(hidden)
    b = tf_keras.layers.Dense(3, activation="softmax", name="b")(hidden)
    model = tf_keras.Model(x, {"a": a, "b": b})
    model.compile(
        "sgd",
        loss={"a": loss, "b": "sparse_categorical_crossentropy"},
        loss_weights={"a": 0.5, "b": 2.0},
        metrics={"a": [tf_keras.metrics.MeanAbsoluteError()], "b": ["accuracy"]},
        weighted_metrics={"a": ["mse"]},
        steps_per_execution=3,
    )
    return model


def data():
    """Seven batches with labels of both outputs and weights."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype("float32")
    labels = {"a": rng.normal(size=ROWS).astype("float32"), "b": rng.integers(0, 3, ROWS)}
    weights = {"a": rng.random(ROWS).astype("float32"), "b": np.ones(ROWS, "float32")}
    return tf.data.Dataset.from_tensor_slices((x, labels, weights)).batch(BATCH)


def prepared(model):
    """Return the model with Orca's functions."""
    from zoo.orca.frameworks.keras.versions import keras2_functions

    model.optimizer.build(model.trainable_variables)
    keras2_functions.build_metrics(model, next(iter(data())))
    keras2_functions.compile_steps(model)
    return model


def trained(prepare):
    """Return what two epochs and an evaluation said, and how often the loss was traced."""
    import tensorflow as tf
    import tf_keras

    traces = []

    def loss(labels, outputs):
        traces.append(1)
        return tf.reduce_mean(tf.square(labels - outputs), axis=-1)

    tf_keras.utils.set_random_seed(0)
    model = prepare(two_outputs(loss))
    history = model.fit(data(), epochs=2, validation_data=data(), verbose=0).history
    return history, model.evaluate(data(), verbose=0, return_dict=True), len(traces)


def test_each_function_is_traced_once_and_its_numbers_are_kerass():
    own = trained(lambda model: model)
    found = trained(prepared)
    assert found[:2] == own[:2]
    assert len(own[0]) == 12, own[0].keys()
    assert found[2] == 2 < own[2]


def test_a_loss_inside_the_model_needs_no_labels():
    import tensorflow as tf
    import tf_keras

    from zoo.orca.frameworks.keras.versions import keras2_functions

    x = tf_keras.Input((3,))
    y = tf_keras.layers.Dense(1)(x)
    model = tf_keras.Model(x, y)
    model.add_loss(tf.reduce_mean(tf.square(y)))
    model.compile("sgd", steps_per_execution=3)
    rows = np.ones((ROWS, 3), "float32")
    keras2_functions.build_metrics(model, (rows[:2],))
    keras2_functions.compile_steps(model)
    losses = model.fit(rows, batch_size=BATCH, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]


def test_metrics_of_the_models_own_making_keep_kerass_functions():
    import tf_keras

    from zoo.orca.frameworks.keras.versions import keras2

    class Own(tf_keras.Model):
        def compute_metrics(self, *given):
            return {**super().compute_metrics(*given), "one": 1.0}

    x = tf_keras.Input((3,))
    model = Own(x, tf_keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    assert keras2.steps_variable(model, begin=2) is not None
    assert model.train_function is None
    rows = np.ones((ROWS, 3), "float32")
    assert model.fit(rows, rows[:, 0], verbose=0).history["one"] == [1.0]
