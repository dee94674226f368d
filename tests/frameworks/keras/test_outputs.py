"""Outputs of which a model does not know everything, and those that have no array for each row."""

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, SGD, columns
from tests.frameworks.ranks import Data, Failed, evaluate, job_of, same_on_all, train
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.keras.feed import StepFeed
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.plans.placed import PlacedPlan

pytestmark = pytest.mark.timeout(300)


def squeezed(config):
    """An output whose rank only a batch shows."""
    import tensorflow as tf

    from tests.frameworks.models import keras_of, optimizer_of

    keras = keras_of(config)
    x = keras.Input((4,))
    found = keras.layers.Dense(1, kernel_initializer="ones")(x)
    if config["by"] == "squeeze":
        found = tf.squeeze(found)
    else:

        def twice(values):
            doubled = tf.numpy_function(lambda array: array * np.float32(2), [values], tf.float32)
            return tf.reshape(doubled, tf.shape(values)[:1]) + 0 * tf.squeeze(values)

        found = keras.layers.Lambda(twice)(found)
    model = keras.Model(x, found)
    model.compile(optimizer_of(config), "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("by", ["squeeze", "function"])
@pytest.mark.parametrize("counts", [(100,), (47, 53)])
def test_outputs_whose_rank_only_a_batch_shows(ranks, by, counts):
    config = {"keras": 2, "optimizer": SGD, "by": by}
    data = Data.of(columns(), counts, features=("x",))
    ran = train(ranks, squeezed, data, batch_size=BATCH, config=config)
    same_on_all(ran)
    assert [one.row_shape for one in ran[0].trained.outputs] == [()]
    job = job_of(TrainJob, squeezed, data.spec, config=config)
    losses, weights = ranks.alone(fitted, job, data.batches(BATCH, 5))
    assert ran[0].trained.history["loss"] == pytest.approx(losses, rel=1e-5)
    for ours, plain in zip(ran[0].weights().values(), weights, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    state = ran[0].trained.state
    found = evaluate(ranks, squeezed, data, batch_size=BATCH, config=config, state=state)
    assert np.isfinite(found[0]["loss"]) and found[0] == found[-1]


def fitted(job, batches):
    """Plain Keras's loss and weights over batches."""
    from zoo.orca.frameworks.keras.models import KerasModel

    model = KerasModel(job).model
    x, y = (np.concatenate([batch[name] for batch in batches]) for name in "xy")
    history = model.fit(x, y, batch_size=len(batches[0]["x"]), shuffle=False, verbose=0).history
    return history["loss"], model.get_weights()


def test_a_worker_with_one_row_shows_the_model_two():
    """Or none of its outputs would have the rank that they have for several rows."""

    class Feed(StepFeed):
        def tensor(self, values):
            return values

    for rows in (0, 1, 2, 5):
        data = Data.of(columns(rows), (rows,), features=("x",))
        plan = PlacedPlan(counts=(rows, 5), batch_size=4, seed=0, shuffle=False)
        feed = Feed(plan, 0, data.shards[0], dict, lambda arrays: arrays["x"], counted=True)
        assert feed.sample().shape == (2, 4)


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
@pytest.mark.parametrize("deferred", [False, True])
def test_outputs_that_have_no_array_for_each_row(ranks, kind, deferred):
    data = Data.of(columns(), (100,), features=("x",))
    config = {"keras": 2, "kind": kind, "deferred": deferred}
    with pytest.raises(Failed) as caught:
        train(ranks, ragged, data, config=config)
    assert caught.value.kind is ModelError
    first, second = caught.value.message.splitlines()
    name = "output_0" if deferred else "odd"
    assert first.startswith(f"the model's output {name!r} is a {kind} tensor, which has no array")
    way = second.split(": ")[1]
    assert train(ranks, ragged, data, config={**config, "way": way})


def ragged(config):
    import tensorflow as tf
    from tensorflow import keras

    def odd(x):
        as_one = tf.RaggedTensor.from_tensor if config["kind"] == "ragged" else tf.sparse.from_dense
        x = as_one(x)
        return eval(config["way"], {"tf": tf, "x": x}) if "way" in config else x

    model = keras.Sequential([keras.layers.Dense(1), keras.layers.Lambda(odd, name="odd")])
    if not config["deferred"]:
        model.build((None, 4))
        x = keras.Input((4,))
        model = keras.Model(x, model.layers[1](model.layers[0](x)))
    model.compile("sgd", "mse")
    return model
