"""Flat arrays as inputs of several axes: plain Keras on the same numbers, reshaped."""

import numpy as np
import pytest

from tests.frameworks import models
from tests.frameworks.bench import BATCH
from tests.frameworks.ranks import Data, Failed, evaluate, predict_job, predicted
from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.input_shapes import Input
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.wire.features import ColumnSpec, FeatureSpec

pytestmark = pytest.mark.timeout(300)

SHAPE = (3, 4, 2)


def of_images(config):
    """A convolution, which tells every order of the pixels from every other."""
    keras = models.keras_of(config)
    kernel = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.3, seed=3)}
    image = keras.Input(SHAPE, name="image")
    hidden = keras.layers.Conv2D(3, 2, activation="tanh", **kernel)(image)
    output = keras.layers.Dense(1, **kernel)(keras.layers.Flatten()(hidden))
    model = keras.Model(image, output)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def rows(count=100, length=24):
    random = np.random.default_rng(1)
    flat = random.normal(size=(count, length)).astype(np.float32)
    return {"image": flat, "y": np.tanh(flat[:, 1] - flat[:, 7]).astype(np.float32)}


def plain(creator, config, batches, columns):
    """What Keras by itself makes of the rows as they are to be: weights, loss, predictions."""
    model = creator(config)
    for batch in batches:
        model.train_on_batch(batch["image"].reshape(-1, *SHAPE), batch["y"][:, None])
    images, labels = columns["image"].reshape(-1, *SHAPE), columns["y"][:, None]
    loss = model.evaluate(images, labels, verbose=0)
    return model.get_weights(), loss, model.predict(images, verbose=0)


@pytest.mark.parametrize("counts", [(47, 53)])
def test_flat_rows_are_reshaped(keras_bench, counts):
    bench, config = keras_bench, keras_bench.config()
    data = Data.of(rows(), counts, features=("image",))
    ran = bench.train(of_images, data, epochs=2, config=config)
    steps = 2 * data.plan(BATCH).steps_per_pass
    whole = data.merged().shards[0]
    weights, loss, outputs = bench.ranks.alone(
        plain, of_images, config, data.batches(BATCH, steps), whole
    )
    for ours, expected in zip(ran[0].weights().values(), weights, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
    fields = {"config": config, "state": ran[0].trained.state, "framework": bench.family.framework}
    found = evaluate(bench.ranks, of_images, data, **fields)[0]["loss"]
    assert found == pytest.approx(float(loss), rel=1e-4)
    job = predict_job(of_images, data.spec, batch_size=BATCH, **fields)
    (made, *_), _ = bench.ranks.alone(predicted, job, {"image": whole["image"]})
    np.testing.assert_allclose(made, outputs, rtol=1e-4, atol=1e-5)


def test_another_length_names_both_shapes_and_the_product(keras_bench):
    data = Data.of(rows(40, 20), (40,), features=("image",))
    with pytest.raises(Failed) as caught:
        keras_bench.train(of_images, data)
    first, second = caught.value.message.splitlines()
    assert "(None, 20)" in first and "(None, 3, 4, 2), 24 numbers a row" in first
    assert "arrays of 24 numbers" in second


def test_a_length_that_only_the_rows_tell_is_looked_at_with_them():
    spec = FeatureSpec(features=(ColumnSpec(name="image", dtype="float32", shape=(None,)),))
    layout = InputLayout(spec, [Input(name="image", shape=(None, *SHAPE), dtype="float32")], None)
    assert layout.placeholder()["x0"].shape == (2, *SHAPE)
    flat = np.arange(48, dtype=np.float32).reshape(2, 24)
    found = layout.feature_arrays({"image": flat})["x0"]
    np.testing.assert_array_equal(found, flat.reshape(2, *SHAPE))
    with pytest.raises(ModelError, match=r"\(None, 20\).*24 numbers a row"):
        layout.feature_arrays({"image": flat[:, :20]})


def test_columns_that_make_the_one_input_are_named_in_a_list_within_the_list():
    columns = tuple(ColumnSpec(name=name, dtype="float32") for name in ("age", "income", "score"))
    inputs = [Input(name="table", shape=(None, 3), dtype="float32")]
    with pytest.raises(ModelError) as caught:
        InputLayout(FeatureSpec(features=columns), inputs, None)
    first, second = str(caught.value).splitlines()
    assert first == (
        "the model has 1 input ['table'], and feature_cols has 3 columns ['age', 'income', 'score']"
    )
    assert second.endswith("feature_cols=[['age', 'income', 'score']]")
    with pytest.raises(ModelError) as caught:
        InputLayout(
            FeatureSpec(features=columns),
            [Input(name="table", shape=(None, 4), dtype="float32")],
            None,
        )
    assert "[[" not in str(caught.value)
