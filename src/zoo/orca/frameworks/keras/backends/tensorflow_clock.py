"""The clock of steps that run inside a compiled TensorFlow function.

One call runs several steps, so Python cannot time them. The clocks are operations of the graph
instead. A step begins when its batch is there and ends when every variable is updated. The time
between two steps of one call is the wait for the next batch.
"""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.training.clock import KerasClock
from zoo.orca.frameworks.keras.types import Model
from zoo.orca.worker.timings import Stopwatch


class StepClock(KerasClock):
    """Times the training steps of one `fit` on TensorFlow."""

    def __init__(self, timings: Stopwatch, exchanged: Callable[[], float]) -> None:
        super().__init__(timings, exchanged)
        self._feed, self._busy, self._last = (tf.Variable(0.0, dtype=tf.float64) for _ in range(3))

    def watch(self, model: Model) -> None:
        """Put clocks around the model's `train_step`, outside all other wrappers."""
        original = model.train_step

        def timed(data: Structure) -> Structure:
            with tf.control_dependencies(_tensors(data)):
                begin = tf.timestamp()
            self._feed.assign_add(tf.maximum(begin - self._last, 0.0))
            # Operations run as soon as their inputs are there. So the step's operations get their
            # inputs from the clock, or they would run before it.
            with tf.control_dependencies([begin]):
                data = tf.nest.map_structure(
                    lambda one: tf.identity(one) if tf.is_tensor(one) else one, data
                )
            result = original(data)
            updated = [tf.identity(variable) for variable in model.trainable_variables]
            with tf.control_dependencies([*_tensors(result), *updated]):
                end = tf.timestamp()
            self._busy.assign_add(end - begin)
            self._last.assign(end)
            return result

        object.__setattr__(model, "train_step", timed)

    def begin_call(self) -> None:
        """Tell the graph when Python called it, by the graph's clock."""
        self._last.assign(time.time())

    def forget(self) -> None:
        """Reset the graph's clocks."""
        self._feed.assign(0.0)
        self._busy.assign(0.0)

    def parts(self, elapsed: float, exchange: float) -> dict[str, float]:
        """Return the times of the graph's clocks; the rest of the calls counts as callbacks."""
        feed, busy = float(self._feed.numpy()), float(self._busy.numpy())
        return {
            "feed": feed,
            "compute": max(busy - exchange, 0.0),
            "callbacks": max(elapsed - feed - busy, 0.0),
        }


def _tensors(structure: Structure) -> list[Any]:
    return [one for one in tf.nest.flatten(structure) if tf.is_tensor(one)]
