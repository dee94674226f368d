"""`Estimator.from_keras` for Keras 2 and for Keras 3 on TensorFlow, with Orca's signatures."""

import os

from zoo.orca.learn.keras_estimator import KerasEstimator


class Estimator(KerasEstimator):
    """Trains a Keras model on Spark DataFrames. Make one with `from_keras`."""

    _framework = "tf2"

    @classmethod
    def _environment(cls) -> dict[str, str]:
        return {"TF_USE_LEGACY_KERAS": os.environ.get("TF_USE_LEGACY_KERAS", "1")}
