"""Clocks around steps that Python runs one by one, on JAX and torch.

What is neither waiting for a batch nor the exchange with other workers counts as computing: on JAX
a step may still run when Python goes on, so callbacks cannot be told from it.
"""

import time
from collections.abc import Callable
from typing import Any

from zoo.orca.worker.profile import Profile


class HostClock:
    """Times the training steps of one `fit`.

    Parameters
    ----------
    profile : Profile
        Gets the figures.
    exchanged : callable
        Returns the seconds spent so far on summing over workers.
    feed : ArrayFeed
        Knows the seconds spent so far on waiting for batches.
    """

    def __init__(self, profile: Profile, exchanged: Callable[[], float], feed: Any) -> None:
        self._profile, self._exchanged, self._feed = profile, exchanged, feed
        self._is_warm = False
        self._since = self._elapsed = self._validating_since = 0.0
        self._before = (0.0, 0.0)
        self._step = -1

    def watch(self, model: Any) -> None:
        """Have nothing to put into the step."""

    def callbacks(self, base: type) -> tuple[Any, Any]:
        """Return the callbacks that belong before and after all others."""
        clock = self

        class Before(base):  # type: ignore[misc]
            """The first to hear of an end."""

            def on_train_begin(self, logs: Any = None) -> None:
                clock._profile.end("build")

            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                clock._since, clock._step = time.perf_counter(), -1

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                clock._end_call(batch)

            def on_test_begin(self, logs: Any = None) -> None:
                clock._validating_since = time.perf_counter()

            def on_train_end(self, logs: Any = None) -> None:
                clock._end()

        class After(base):  # type: ignore[misc]
            """The last to hear of a beginning."""

            def on_test_end(self, logs: Any = None) -> None:
                seconds = time.perf_counter() - clock._validating_since
                clock._profile.add("of which validation", seconds)

        return Before(), After()

    def _end_call(self, step: int) -> None:
        now = time.perf_counter()
        if self._is_warm:
            self._elapsed += now - self._since
            self._profile.steps += step - self._step
        else:
            # The first call compiles the step, and says nothing about steps.
            self._is_warm = True
            self._profile.end("first call of the step")
            self._before = (self._feed.seconds, self._exchanged())
        self._since, self._step = now, step

    def _end(self) -> None:
        self._profile.end("epochs")
        feed = self._feed.seconds - self._before[0]
        exchange = self._exchanged() - self._before[1]
        self._profile.parts.update(
            feed=feed,
            compute=max(self._elapsed - feed - exchange, 0.0),
            exchange=exchange,
            callbacks=0.0,
        )
