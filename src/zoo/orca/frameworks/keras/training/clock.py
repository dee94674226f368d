"""Clocks around a Keras model's steps, for a profiled job.

Callbacks before and after all others mark when calls of the step begin and end. Each backend splits
a call's time in its own way. `tensorflow_clock` does so for TensorFlow, and this module for JAX and
torch.
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
        Receives the times.
    exchanged : callable
        Returns the seconds spent so far on sums over workers.
    """

    def __init__(self, timings: Stopwatch, exchanged: Callable[[], float]) -> None:
        self._timings = timings
        self._exchanged = exchanged
        self._is_warm = False
        self._since = self._elapsed = self._exchanged_before = self._validating_since = 0.0
        self._step = -1

    @abstractmethod
    def watch(self, model: Model) -> None:
        """Add what the model's step needs to be timed, if anything."""

    @abstractmethod
    def begin_call(self) -> None:
        """Note that a call of the step begins."""

    @abstractmethod
    def forget(self) -> None:
        """Forget the first call: it builds or compiles the step, so its time is not typical."""

    @abstractmethod
    def parts(self, elapsed: float, exchange: float) -> dict[str, float]:
        """Return how the seconds of some calls were spent, except for the exchange."""

    def callbacks(self, base: type) -> tuple[KerasCallback, KerasCallback]:
        """Return the callbacks to run before and after all others."""
        clock = self

        class Before(base):  # type: ignore[misc]
            """The first to be called at an end."""

            _supports_tf_logs = True  # otherwise Keras 2 turns the logs of every call into numbers

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
            """The last to be called at a start."""

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

    All time but the wait for a batch and the exchange counts as computing. On JAX a step may still
    run when Python goes on, so its time cannot be told from that of callbacks.

    Parameters
    ----------
    timings, exchanged
        As for every clock.
    feed : ArrayFeed
        Its `seconds` are the time spent so far on waiting for batches.
    """

    def __init__(self, timings: Stopwatch, exchanged: Callable[[], float], feed: Feed) -> None:
        super().__init__(timings, exchanged)
        self._feed, self._fed_before = feed, 0.0

    def watch(self, model: Model) -> None:
        """Leave the step as it is: Python sees all of it."""

    def begin_call(self) -> None:
        """No-op: the feed counts its own time."""

    def forget(self) -> None:
        """Forget the first call."""
        self._fed_before = self._feed.seconds

    def parts(self, elapsed: float, exchange: float) -> dict[str, float]:
        """Return the wait for batches; all the rest is computing."""
        feed = self._feed.seconds - self._fed_before
        return {
            "feed": feed,
            "compute": max(elapsed - feed - exchange, 0.0),
            "callbacks": 0.0,
        }
