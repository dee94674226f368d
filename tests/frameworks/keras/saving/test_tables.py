"""Layers that have learnt a vocabulary, boundaries or statistics in the creator."""

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, SGD, close
from tests.frameworks.ranks import Data, Failed, plugin_of, predict_job, same_on_all
from tests.frameworks.test_faults import broken
from zoo.orca.errors import ModelError, StateError
from zoo.orca.wire.features import FeatureSpec

pytestmark = [pytest.mark.timeout(300), pytest.mark.keras3_on_tensorflow]

WORDS = np.array([b"red fox", b"red", b"green fox", b"blue"], object)


def data_of(counts, kind):
    rows = sum(counts)
    number = np.arange(rows) % 4
    found = {
        "text": WORDS[number],
        "number": (10 + number).astype(np.int32),
        "size": (number * 1.5 + 2).astype(np.float32),
        "y": (number % 3).astype(np.float32),
    }
    kept = {name: found[name] for name in (COLUMN[kind], "y")}
    return Data.of(kept, counts, features=(COLUMN[kind],))


COLUMN = {
    "string": "text",
    "string_set": "text",
    "text": "text",
    "tf_idf": "text",
    "integer": "number",
    "normalised": "size",
    "discrete": "size",
}


def looked_up(config):
    """One column through a layer that knows something, then a table or a dense layer."""
    from tests.frameworks.models import keras_of, optimizer_of

    keras, kind, words = keras_of(config), config["kind"], list(config["words"])
    layers, numbers = keras.layers, np.float32([[2], [3], [4], [9]]) * config.get("times", 1)
    if kind in ("string", "string_set"):
        layer = layers.StringLookup()
        layer.adapt(words) if kind == "string" else layer.set_vocabulary(words)
    elif kind == "text":
        layer = layers.TextVectorization(output_sequence_length=2)
        layer.adapt(words)
    elif kind == "tf_idf":
        layer = layers.TextVectorization(output_mode="tf_idf", pad_to_max_tokens=False)
        layer.adapt(words)
    elif kind == "integer":
        layer = layers.IntegerLookup()
        layer.adapt(np.array([[10], [11], [11], [13]]))
    elif kind == "normalised":
        layer = layers.Normalization()
        layer.adapt(numbers)
    else:
        layer = layers.Discretization(num_bins=3)
        layer.adapt(numbers)
    dtype = {"text": "string", "number": "int32", "size": "float32"}[config["column"]]
    x = keras.Input((1,), dtype=dtype, name="x")
    found = layer(x)
    if kind not in ("tf_idf", "normalised"):
        found = layers.Flatten()(layers.Embedding(8, 2)(found))
    model = keras.Model(x, layers.Dense(1)(found))
    model.compile(optimizer_of(config), "mse")
    return model


def config_of(keras_bench, kind, **more):
    words = ["red", "red fox", "green fox", "blue", "red"]
    if kind == "string_set":
        words = ["red", "red fox", "green fox", "blue"]
    return keras_bench.config(SGD, kind=kind, column=COLUMN[kind], **{"words": words, **more})


def skip_unless_known(keras_bench, kind):
    backend = keras_bench.family.environment.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow" and COLUMN[kind] != "size":
        pytest.skip("Keras looks words and numbers up on TensorFlow alone")


@pytest.mark.parametrize("kind", COLUMN)
def test_training_saving_and_predicting(keras_bench, kind):
    skip_unless_known(keras_bench, kind)
    config, data = config_of(keras_bench, kind), data_of((31, 29), kind)
    ran = keras_bench.train(looked_up, data, config=config)
    same_on_all(ran)
    alone = keras_bench.train(
        looked_up,
        data.in_order(BATCH, 3),
        config=config,
        steps_per_epoch=3,
        shuffle=False,
    )
    close(ran[0].weights(), alone[0].weights())
    state = type(ran[0].trained.state).from_bytes(ran[0].trained.state.to_bytes())
    again = keras_bench.train(looked_up, data, config=config, state=state, initial_epoch=1)
    assert again[0].trained.history["loss"] != ran[0].trained.history["loss"]
    found, plain = keras_bench.ranks.alone(
        predicted, job_of_predict(keras_bench, config, data, state), data.shards[0]
    )
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)
    assert len(np.unique(found.round(4))) > 1


def job_of_predict(keras_bench, config, data, state):
    spec, framework = FeatureSpec(features=data.spec.features), keras_bench.family.framework
    return predict_job(looked_up, spec, config=config, framework=framework, state=state)


def predicted(job, rows):
    """Ours, and plain Keras's with the state's weights by their order."""
    from zoo.orca.frameworks.keras.models import KerasModel
    from zoo.orca.wire.packing import State

    predictor = plugin_of(job).predictor(job)
    predictor.begin(rows)
    found = predictor(rows)[0]
    made = KerasModel(job)
    tensors = State.from_bytes(job.state).tensors
    saved = [value for name, value in tensors.items() if name.startswith("weights/")]
    for variable, value in zip(made.weights, saved, strict=True):
        variable.assign(value)
    column = rows[job.columns.features[0].name]
    return found, made.model.predict(made.backend.tensor(column[:, None]), verbose=0)


@pytest.mark.parametrize("kind", ["string", "discrete"])
def test_workers_that_learnt_other_things_are_refused(keras_bench, kind):
    skip_unless_known(keras_bench, kind)
    config = config_of(keras_bench, kind)
    others = {"words": ["red", "green", "green"], "times": 2}
    creators = [lambda given, more=more: looked_up({**config, **more}) for more in ({}, others)]
    first, second = broken(keras_bench, creators, data_of((31, 29), kind))
    assert first.kind is second.kind is ModelError
    assert first.message == second.message
    assert "another vocabulary on worker 1 than on worker 0" in first.message
    assert "adapt the layer on the same rows" in first.message.splitlines()[1]


def test_statistics_that_differ_are_those_of_the_first_worker(keras_bench):
    """They are variables, so all workers have the first one's, and so has a prediction."""
    config, data = config_of(keras_bench, "normalised"), data_of((31, 29), "normalised")

    def differing(given):
        import os

        return looked_up({**config, "times": 1 + os.getpid() % 97})

    ran = keras_bench.train(differing, data)
    same_on_all(ran)
    state = ran[0].trained.state
    first = keras_bench.train(differing, data.merged(), state=state, initial_epoch=1)
    job = job_of_predict(keras_bench, config, data, first[0].trained.state)
    found, _ = keras_bench.ranks.alone(predicted, job, data.shards[0])
    other = job_of_predict(keras_bench, {**config, "times": 7}, data, first[0].trained.state)
    again, _ = keras_bench.ranks.alone(predicted, other, data.shards[0])
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("kind", ["string", "discrete"])
def test_a_state_of_other_things_is_refused(keras_bench, kind):
    skip_unless_known(keras_bench, kind)
    config, data = config_of(keras_bench, kind), data_of((60,), kind)
    state = keras_bench.train(looked_up, data, config=config)[0].trained.state
    other = {**config, "words": ["red", "green", "blue"], "times": 2}
    with pytest.raises(Failed, match="another vocabulary than the one that the state") as caught:
        keras_bench.train(looked_up, data, config=other, state=state)
    assert caught.value.kind is StateError
    with pytest.raises(Failed, match="another vocabulary than the one that the state"):
        job = job_of_predict(keras_bench, other, data, state)
        keras_bench.ranks.alone(predicted, job, data.shards[0])
