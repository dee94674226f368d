"""Keras 3 on JAX, TensorFlow or torch."""

from zoo.orca.learn.keras.estimator import Estimator

__all__ = ["Estimator"]
