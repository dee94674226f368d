"""Clocks around a Keras model's steps, for a job that is to be profiled.

A step runs inside a compiled function, several of them in one call, so Python cannot time it: the
clocks are operations of the graph. A step begins once its batch is there and ends once every
variable is updated; what lies between two steps of one call is waiting for the next batch.
"""

import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from zoo.orca.worker.profile import Profile


class StepClock:
    """Times the training steps of one `fit`.

    Parameters
    ----------
    profile : Profile
        Gets the figures.
    exchanged : callable
        Returns the seconds spent so far on summing over workers.
    """

    def __init__(self, profile: Profile, exchanged: Callable[[], float]) -> None:
        self._profile = profile
        self._exchanged = exchanged
        self._feed, self._busy, self._last = (tf.Variable(0.0, dtype=tf.float64) for _ in range(3))
        self._is_warm = False
        self._since = self._elapsed = self._exchanged_before = self._validating_since = 0.0
        self._step = -1

    def watch(self, model: Any) -> None:
        """Put clocks around the model's `train_step`, outside of whatever else is around it."""
        original = model.train_step

        def timed(data: Any) -> Any:
            with tf.control_dependencies(_tensors(data)):
                begin = tf.timestamp()
            self._feed.assign_add(tf.maximum(begin - self._last, 0.0))
            # Operations run as soon as their inputs are there: those of the step get theirs from
            # the clock, or they would run before it.
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

    def callbacks(self, base: type) -> tuple[Any, Any]:
        """Return the callbacks that belong before and after all others."""
        clock = self

        class Before(base):  # type: ignore[misc]
            """The first to hear of an end."""

            _supports_tf_logs = True

            def on_train_begin(self, logs: Any = None) -> None:
                clock._profile.end("build")

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                clock._begin_epoch()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                clock._end_call(batch)

            def on_test_begin(self, logs: Any = None) -> None:
                clock._validating_since = time.perf_counter()

            def on_train_end(self, logs: Any = None) -> None:
                clock._end()

        class After(base):  # type: ignore[misc]
            """The last to hear of a beginning."""

            _supports_tf_logs = True

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                clock._last.assign(time.time())

            def on_test_end(self, logs: Any = None) -> None:
                seconds = time.perf_counter() - clock._validating_since
                clock._profile.add("of which validation", seconds)

        return Before(), After()

    def _begin_epoch(self) -> None:
        self._since, self._step = time.perf_counter(), -1

    def _end_call(self, step: int) -> None:
        now = time.perf_counter()
        if self._is_warm:
            self._elapsed += now - self._since
            self._profile.steps += step - self._step
        else:
            # The first call builds the function, and says nothing about steps.
            self._is_warm = True
            self._profile.end("first call of the step")
            self._feed.assign(0.0)
            self._busy.assign(0.0)
            self._exchanged_before = self._exchanged()
        self._since, self._step = now, step

    def _end(self) -> None:
        self._profile.end("epochs")
        feed, busy = float(self._feed.numpy()), float(self._busy.numpy())
        exchange = self._exchanged() - self._exchanged_before
        self._profile.parts.update(
            feed=feed,
            compute=max(busy - exchange, 0.0),
            exchange=exchange,
            callbacks=max(self._elapsed - feed - busy, 0.0),
        )


def _tensors(structure: Any) -> list[Any]:
    return [one for one in tf.nest.flatten(structure) if tf.is_tensor(one)]
