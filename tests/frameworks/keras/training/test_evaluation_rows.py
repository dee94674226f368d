"""Evaluations take larger batches only where nothing can depend on them."""

from types import SimpleNamespace

import numpy as np
import pytest

from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.plugin import Rows

pytest.importorskip("tf_keras")
pytestmark = pytest.mark.timeout(300)


def model_of(*, layer=None, loss="mse", metrics=("mae",), kind=None):
    import tf_keras

    x = tf_keras.Input((4,))
    hidden = layer(x) if layer else x
    model = (kind or tf_keras.Model)(x, tf_keras.layers.Dense(1)(hidden))
    model.compile("sgd", loss, metrics=list(metrics))
    return model


def batch_size(model, *, shape=(4,), batch=32, workers=2):
    from zoo.orca.frameworks.keras.training.evaluation_rows import with_large_batches
    from zoo.orca.frameworks.keras.versions import keras2

    spec = FeatureSpec(
        features=(ColumnSpec(name="x", dtype="float32", shape=shape),),
        labels=(ColumnSpec(name="y", dtype="float32", shape=()),),
    )
    rows = Rows(
        spec=spec,
        columns={},
        plan=PlacedPlan(counts=(1000,) * workers, batch_size=batch, seed=0, shuffle=False),
    )
    made = SimpleNamespace(keras=keras2, model=model)
    return with_large_batches(made, rows).plan.batch_size


def own_function(y_true, y_pred):
    return y_true - y_pred


def test_keras_own_parts():
    import tf_keras

    assert batch_size(model_of()) == 2 * 8192
    assert batch_size(model_of(), workers=1) == 8192
    assert batch_size(model_of(metrics=[tf_keras.metrics.AUC()])) == 2 * 8192
    assert batch_size(model_of(loss=tf_keras.losses.Huber())) == 2 * 8192
    assert batch_size(model_of(layer=tf_keras.layers.BatchNormalization())) == 2 * 8192


def test_wide_rows_and_large_batches_stay():
    assert batch_size(model_of(), shape=(224, 224, 3)) == 32
    assert batch_size(model_of(), shape=(1024,)) == 2 * 64
    assert batch_size(model_of(), batch=50000) == 50000


@pytest.mark.parametrize("part", ["loss", "metric", "wrapped", "lambda", "layer", "step"])
def test_parts_of_the_users_stay_with_their_batches(part):
    import tf_keras

    class Layer(tf_keras.layers.Dense):
        """May look across a batch."""

    class Stepping(tf_keras.Model):
        def test_step(self, data):
            return super().test_step(data)

    mean = tf_keras.metrics.MeanMetricWrapper
    given = {
        "loss": {"loss": own_function},
        "metric": {"metrics": [own_function]},
        "wrapped": {"metrics": [mean(own_function)]},
        "lambda": {"layer": tf_keras.layers.Lambda(lambda x: x - np.float32(1))},
        "layer": {"layer": Layer(4)},
        "step": {"kind": Stepping},
    }
    assert batch_size(model_of(**given[part])) == 32


def test_masked_steps_stay():
    import tf_keras

    x = tf_keras.Input((None,), dtype="int32")
    hidden = tf_keras.layers.Embedding(9, 2, mask_zero=True)(x)
    model = tf_keras.Model(x, tf_keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    assert batch_size(model) == 32
