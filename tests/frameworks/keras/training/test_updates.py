"""Fused updates are Keras's own, number by number; optimizers of another rule are left alone."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("tf_keras")
pytestmark = pytest.mark.timeout(300)

STEPS = 25


def made_with(optimizer):
    from zoo.orca.frameworks.keras.versions import keras2

    return SimpleNamespace(keras=keras2, optimizers=lambda: {"": optimizer})


def gradients(rng, *, sparse):
    """One gradient for a table of 50 rows, with rows that repeat, and one for a kernel."""
    import tensorflow as tf

    dense = tf.constant(rng.normal(size=(7, 3)), tf.float32)
    if not sparse:
        return [tf.constant(rng.normal(size=(50, 4)), tf.float32), dense]
    rows = tf.constant(rng.integers(0, 50, 30))
    values = tf.constant(rng.normal(size=(30, 4)), tf.float32)
    return [tf.IndexedSlices(values, rows, tf.constant([50, 4], tf.int64)), dense]


def trained(optimizer, *, sparse):
    """Return variables and moments after some steps."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    variables = [
        tf.Variable(rng.normal(size=shape), dtype=tf.float32) for shape in ((50, 4), (7, 3))
    ]
    optimizer.build(variables)

    @tf.function
    def step(found):
        optimizer.apply_gradients(zip(found, variables, strict=True))

    for _ in range(STEPS):
        step(gradients(rng, sparse=sparse))
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


def schedule(keras):
    return keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda keras: keras.optimizers.Adam(0.05),
        lambda keras: keras.optimizers.Adam(schedule(keras), beta_1=0.7, beta_2=0.95, epsilon=1e-3),
        lambda keras: keras.optimizers.Adam(0.05, clipnorm=0.5, use_ema=True, ema_momentum=0.8),
        lambda keras: keras.optimizers.Adam(0.05, global_clipnorm=0.5, weight_decay=0.01),
        lambda keras: keras.optimizers.AdamW(0.05, weight_decay=0.02),
    ],
)
def test_same_numbers(make, sparse):
    import tf_keras

    from zoo.orca.frameworks.keras.training.updates import fuse_updates

    fused = make(tf_keras)
    own = fused.update_step
    fuse_updates(made_with(fused))
    assert fused.update_step != own
    expected = trained(make(tf_keras), sparse=sparse)
    for found, wanted in zip(trained(fused, sparse=sparse), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-6)


def test_inside_a_loss_scale():
    import tf_keras

    from zoo.orca.frameworks.keras.training.updates import fuse_updates

    adam = tf_keras.optimizers.Adam(0.05)
    own = adam.update_step
    fuse_updates(made_with(tf_keras.mixed_precision.LossScaleOptimizer(adam)))
    assert adam.update_step != own


@pytest.mark.parametrize("kind", ["amsgrad", "subclass", "SGD", "legacy"])
def test_other_rules_stay(kind):
    import tf_keras

    from zoo.orca.frameworks.keras.training.updates import fuse_updates

    class Own(tf_keras.optimizers.Adam):
        """Another rule, for all one knows."""

    optimizers = {
        "amsgrad": tf_keras.optimizers.Adam(amsgrad=True),
        "subclass": Own(),
        "SGD": tf_keras.optimizers.SGD(),
        "legacy": tf_keras.optimizers.legacy.Adam(),
    }
    fuse_updates(made_with(optimizers[kind]))
    assert "update_step" not in vars(optimizers[kind])
