"""How many steps one call of Keras's compiled function runs.

Between two steps Keras returns to Python, which takes as long as many a step. If no callback uses
single steps, several run in one call. The steps and their results do not depend on it, so workers
need not agree on it.
"""

import time

from zoo.orca.frameworks.keras.types import KerasCallback, StepLogs, Variable

#: A variable's first value. It is above 1, so that Keras builds the function with a loop.
BEGIN = 2
_MOST = 64
#: Progress is reported between calls, and a cancelled job ends between calls.
_SECONDS = 0.2
_GROWTH = 4


def pace(base: type, steps: Variable) -> KerasCallback:
    """Return the callback that sets the steps per call by their time.

    Parameters
    ----------
    base : type
        Keras's `Callback`.
    steps : variable
        The variable of Keras 2 that is read before each call.
    """
    meter = _Meter(steps)

    class Pace(base):  # type: ignore[misc]
        """Measures calls from end to end; the first of each kind starts the clock."""

        # Without it, Keras turns the logs of every call into numbers.
        _supports_tf_logs = True

        def on_train_batch_end(self, batch: int, logs: StepLogs = None) -> None:
            meter.ended("train", batch)

        def on_test_batch_end(self, batch: int, logs: StepLogs = None) -> None:
            meter.ended("test", batch)

    return Pace()


class _Meter:
    def __init__(self, steps: Variable) -> None:
        self._steps = steps
        self._value = BEGIN
        self._last: tuple[str, int, float] = ("", 0, 0.0)

    def ended(self, phase: str, step: int) -> None:
        """Note that a phase's steps up to `step` are done, and set the number of the next ones."""
        now = time.perf_counter()
        of, before, since = self._last
        self._last = (phase, step, now)
        if of != phase or step <= before:
            return
        fitting = int(_SECONDS * (step - before) / max(now - since, 1e-9))
        value = max(1, min(fitting, _GROWTH * self._value, _MOST))
        # Every change is a TensorFlow call, so an approximate value is good enough.
        if value > 1.5 * self._value or value < 0.7 * self._value:
            self._value = value
            self._steps.assign(value)
