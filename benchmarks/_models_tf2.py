"""The benchmarks' models in Keras 2."""

from typing import Any

from models_tf2 import ncf

Config = dict[str, Any]

__all__ = ["dense", "embedding", "ncf"]


def dense(config: Config) -> Any:
    """Return a small perceptron."""
    from tensorflow import keras

    layers = [keras.Input((100,))]
    layers += [keras.layers.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(**config["compile"])
    return model


def embedding(config: Config) -> Any:
    """Return a linear model of the mean of embeddings in a large table."""
    from tensorflow import keras

    ids = keras.Input((4,), dtype="int32")
    mean = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(1_000_000, 64)(ids))
    model = keras.Model(ids, keras.layers.Dense(1)(mean))
    model.compile(**config["compile"])
    return model
