"""Models and callbacks with state of every kind, for the tests of what a state keeps."""

from typing import Any

from tests.frameworks.models import keras_of, optimizer_of


def layered(config: dict[str, Any]) -> Any:
    """Input x and label y; `config["layers"]` names what is in the middle."""
    keras = keras_of(config)
    layers = keras.layers
    middle = {
        "dense": lambda: [layers.Dense(6)],
        "dropout": lambda: [layers.Dense(6), layers.Dropout(0.5), layers.GaussianNoise(0.3)],
        "seeded": lambda: [layers.Dense(6), layers.Dropout(0.5, seed=3)],
        "recurrent": lambda: [
            layers.Reshape((2, 2)),
            layers.SimpleRNN(3, dropout=0.4, recurrent_dropout=0.4, unroll=True),
        ],
        "own": lambda: [own_noise(keras)],
        "normalised": lambda: [layers.BatchNormalization(momentum=0.5)],
    }[config.get("layers", "dense")]()
    model = keras.Sequential([keras.Input((4,)), *middle, layers.Dense(1)])
    model.compile(optimizer(config), "mse", metrics=["mae"])
    return model


def optimizer(config: dict[str, Any]) -> Any:
    """An optimizer with what `config["more"]` names."""
    keras, more = keras_of(config), config.get("more")
    if more == "schedule":
        rate = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.7)
        return keras.optimizers.SGD(rate, momentum=0.9)
    if more == "scale":
        wrapper, growth = keras.mixed_precision.LossScaleOptimizer, 3
        inner = keras.optimizers.Adam(0.01)
        steps = {"dynamic_growth_steps": growth}
        return wrapper(inner, **steps)
    if more == "accumulated":
        return keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
    if more == "averaged":
        return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8)
    return optimizer_of(config)


def own_noise(keras: Any) -> Any:
    """A layer that has a random generator of TensorFlow's, or of Keras 3's."""
    if not hasattr(keras, "ops"):
        import tensorflow as tf

        class Noise(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.random = tf.random.Generator.from_seed(5)

            def call(self, x):
                return x + self.random.normal(tf.shape(x))
    else:

        class Noise(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.random = keras.random.SeedGenerator(5)

            def call(self, x):
                return x + keras.random.normal(keras.ops.shape(x), seed=self.random)

    return Noise()


def halving(version: int) -> Any:
    """A function that makes a callback that halves the rate after each epoch."""

    def make() -> list[Any]:
        keras = keras_of({"keras": version})

        class Halve(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                optimizer = self.model.optimizer
                if version == 2:
                    rate = keras.backend.get_value(optimizer.lr)
                    keras.backend.set_value(optimizer.lr, rate / 2)
                else:
                    optimizer.learning_rate = float(optimizer.learning_rate) / 2

        return [Halve()]

    return make


def plateau(version: int) -> Any:
    """A function that makes a callback that lowers the rate from the second epoch on."""

    def make() -> list[Any]:
        keras = keras_of({"keras": version})
        return [keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=1e6)]

    return make
