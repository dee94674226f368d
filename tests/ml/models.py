"""Creators of small models, for stages of each framework."""

from typing import Any

import torch
from torch import nn

from zoo.orca.ml import KerasClassifier, KerasRegressor, TorchClassifier, TorchRegressor


def keras_of(config: dict[str, Any]) -> Any:
    """The Keras that a stage's backend means."""
    if config.get("tf2"):
        from tensorflow import keras
    else:
        import keras
    return keras


def keras_classes(config: dict[str, Any]) -> Any:
    """Three classes: probabilities, or with `logits` logits."""
    keras = keras_of(config)
    last = None if config.get("logits") else "softmax"
    x = keras.Input((4,))
    hidden = keras.layers.Dense(config.get("units", 8), activation="tanh")(x)
    model = keras.Model(x, keras.layers.Dense(3, activation=last)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=last is None)
    model.compile(keras.optimizers.Adam(config.get("lr", 0.05)), loss, metrics=["accuracy"])
    return model


def keras_two(config: dict[str, Any]) -> Any:
    """Two classes, one output."""
    keras = keras_of(config)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(keras.optimizers.SGD(config.get("lr", 0.5)), "binary_crossentropy")
    return model


def keras_number(config: dict[str, Any]) -> Any:
    """One number."""
    keras = keras_of(config)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(config.get("lr", 0.1)), "mse")
    return model


def torch_classes(config: dict[str, Any]) -> nn.Module:
    """Logits of three classes."""
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def torch_number(config: dict[str, Any]) -> nn.Module:
    """One number a row."""
    return nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))


TORCH = {"optimizer": torch.optim.SGD, "config": {"lr": 0.1}}
COMMON = {"batchSize": 40, "epochs": 2, "numWorkers": 2, "seed": 3}


def classifier(framework: str, **more: Any) -> Any:
    """A classifier of three classes."""
    given = {**COMMON, "labelCol": "kind", **more}
    if framework == "torch":
        loss = nn.CrossEntropyLoss()
        return TorchClassifier(modelCreator=torch_classes, loss=loss, **{**TORCH, **given})
    config = {"tf2": framework == "tf2", **given.pop("config", {})}
    return KerasClassifier(
        modelCreator=keras_classes, config=config, **{"backend": framework, **given}
    )


def regressor(framework: str, **more: Any) -> Any:
    """A regressor."""
    given = {**COMMON, "labelCol": "size", **more}
    if framework == "torch":
        loss = nn.MSELoss()
        return TorchRegressor(modelCreator=torch_number, loss=loss, **{**TORCH, **given})
    config = {"tf2": framework == "tf2", **given.pop("config", {})}
    return KerasRegressor(
        modelCreator=keras_number, config=config, **{"backend": framework, **given}
    )
