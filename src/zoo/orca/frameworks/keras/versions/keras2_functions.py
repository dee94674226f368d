"""Keras 2's compiled functions of several steps, traced once each.

Tracing a step takes longer than anything else before the first one runs, and Keras traces each four
times: once in a function that creates the metrics and once in one that does not, and in each of
them also beside the loop, to learn its outputs. Here metrics are created before, and the loop has
no outputs. Keras reports a call's metrics after its last step, so they are read once, after the
loop.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.types import Model, StepFunction


def build_metrics(model: Model, batch: Structure) -> None:
    """Create the metrics of a compiled functional model, which Keras would in its first step.

    Parameters
    ----------
    model : keras.Model
    batch : tuple
        Inputs and usually labels and weights.
    """
    import tf_keras

    _, labels, _ = tf_keras.utils.unpack_x_y_sample_weight(batch)
    if labels is None:
        return
    outputs = model._nested_outputs
    if model.compiled_loss is not None and not model.compiled_loss.built:
        model.compiled_loss.build(outputs)
    metrics = model.compiled_metrics
    if metrics is not None and not metrics.built:
        # As Keras does first with its input: one label, or a dict, for a list of outputs.
        metrics.build(outputs, metrics._conform_to_outputs(outputs, labels))


def compile_steps(model: Model) -> None:
    """Give a model the functions that its `fit` and `evaluate` would make.

    Like Keras's, they read the model's steps variable when a call begins.

    Parameters
    ----------
    model : keras.Model
        Its `train_step` and `test_step` return the results of its metrics.
    """
    train = _function(model, lambda data: model.train_step(data), model._train_counter)
    model.train_function = model.train_tf_function = train
    test = _function(model, lambda data: model.test_step(data), model._test_counter)
    model.test_function = test


def _function(model: Model, step: StepFunction, counter: tf.Variable) -> Any:
    def run(iterator: Iterator[Structure]) -> Structure:
        for _ in tf.range(model.steps_per_execution):
            model.distribute_strategy.run(step, args=(next(iterator),))
            counter.assign_add(1)
        return model.get_metrics_result()

    return tf.function(run, reduce_retracing=True)
