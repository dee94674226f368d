"""Stages of Spark ML: Keras and PyTorch models in a `Pipeline`, or under a `CrossValidator`."""

from zoo.orca.ml.classification import (
    KerasClassifier,
    KerasClassifierModel,
    TorchClassifier,
    TorchClassifierModel,
)
from zoo.orca.ml.regression import (
    KerasRegressor,
    KerasRegressorModel,
    TorchRegressor,
    TorchRegressorModel,
)

__all__ = [
    "KerasClassifier",
    "KerasClassifierModel",
    "KerasRegressor",
    "KerasRegressorModel",
    "TorchClassifier",
    "TorchClassifierModel",
    "TorchRegressor",
    "TorchRegressorModel",
]
