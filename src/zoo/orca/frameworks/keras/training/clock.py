"""Clocks around a Keras model's steps, for a job that is to be profiled.

Callbacks before and after all others tell when calls of the step begin and end. What a call is
made of, each backend finds out in its own way: on TensorFlow `tensorflow_clock`, here is the way
of JAX and torch.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from zoo.orca.frameworks.keras.protocols import Feed
from zoo.orca.frameworks.keras.types import KerasCallback, Model, StepLogs
from zoo.orca.worker.timings import Stopwatch


class KerasClock(ABC):
    """Times the training steps of one `fit`.

    Parameters
    ----------
    timings : Stopwatch
        Gets the figures.
    exchanged : callable
        Returns the seconds spent so far on summing over workers.
    """

    def __init__(self, timings: Stopwatch, exchanged: Callable[[], float]) -> None:
        self._timings = timings
        self._exchanged = exchanged
        self._is_warm = False
        self._since = self._elapsed = self._exchanged_before = self._validating_since = 0.0
        self._step = -1

    @abstractmethod
    def watch(self, model: Model) -> None:
        """Put into the model's step what it takes to time it, if anything."""

    @abstractmethod
    def begin_call(self) -> None:
        """Note that a call of the step begins."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the first call, which builds or compiles the step and says nothing about steps."""

    @abstractmethod
    def parts(self, elapsed: float, exchange: float) -> dict[str, float]:
        """Return what so many seconds of calls were spent on, beside the exchange."""

    def callbacks(self, base: type) -> tuple[KerasCallback, KerasCallback]:
        """Return the callbacks that belong before and after all others."""
        clock = self

        class Before(base):  # type: ignore[misc]
            """The first to hear of an end."""

            _supports_tf_logs = True  # or Keras 2 turns the logs of every call into numbers

            def on_train_begin(self, logs: StepLogs = None) -> None:
                clock._timings.end("build")

            def on_epoch_begin(self, epoch: int, logs: StepLogs = None) -> None:
                clock._since, clock._step = time.perf_counter(), -1

            def on_train_batch_end(self, batch: int, logs: StepLogs = None) -> None:
                clock._end_call(batch)

            def on_test_begin(self, logs: StepLogs = None) -> None:
                clock._validating_since = time.perf_counter()

            def on_train_end(self, logs: StepLogs = None) -> None:
                clock._end()

        class After(base):  # type: ignore[misc]
            """The last to hear of a beginning."""

            _supports_tf_logs = True

            def on_train_batch_begin(self, batch: int, logs: StepLogs = None) -> None:
                clock.begin_call()

            def on_test_end(self, logs: StepLogs = None) -> None:
                seconds = time.perf_counter() - clock._validating_since
                clock._timings.add("of which validation", seconds)

        return Before(), After()

    def _end_call(self, step: int) -> None:
        now = time.perf_counter()
        if self._is_warm:
            self._elapsed += now - self._since
            self._timings.steps += step - self._step
        else:
            self._is_warm = True
            self._timings.end("first call of the step")
            self._exchanged_before = self._exchanged()
            self.forget()
        self._since, self._step = now, step

    def _end(self) -> None:
        self._timings.end("epochs")
        exchange = self._exchanged() - self._exchanged_before
        self._timings.parts.update(self.parts(self._elapsed, exchange), exchange=exchange)


class HostClock(KerasClock):
    """Times steps that Python runs one by one, on JAX and torch.

    What is neither waiting for a batch nor the exchange with other workers counts as computing: on
    JAX a step may still run when Python goes on, so callbacks cannot be told from it.

    Parameters
    ----------
    timings, exchanged
        As for every clock.
    feed : ArrayFeed
        Knows the seconds spent so far on waiting for batches.
    """

    def __init__(self, timings: Stopwatch, exchanged: Callable[[], float], feed: Feed) -> None:
        super().__init__(timings, exchanged)
        self._feed, self._fed_before = feed, 0.0

    def watch(self, model: Model) -> None:
        """Leave the step as it is: Python sees all of it."""

    def begin_call(self) -> None:
        """Have nothing to note: the feed counts its own time."""

    def forget(self) -> None:
        """Forget the first call."""
        self._fed_before = self._feed.seconds

    def parts(self, elapsed: float, exchange: float) -> dict[str, float]:
        """Return the wait for batches, and all the rest as computing."""
        feed = self._feed.seconds - self._fed_before
        return {
            "feed": feed,
            "compute": max(elapsed - feed - exchange, 0.0),
            "callbacks": 0.0,
        }
