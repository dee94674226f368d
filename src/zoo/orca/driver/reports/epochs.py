"""The epochs of a `fit`, told on the driver as they end, in the thread that called `fit`.

Rank 0 reports each epoch over its line to the driver. A thread that reads the line only puts the
report into a queue. The thread that waits for Spark's job takes it out, so that a listener finds
its own thread's things, such as the run of MLflow that is active there, and its error ends the call
as an interrupt would. An epoch that is trained again, because an executor was lost, is known by its
number. What never came over a line is in the result.
"""

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from zoo.orca.errors import OrcaError
from zoo.orca.wire.messages.progress import Decided, EpochRecorded


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch of a `fit` has ended.

    Parameters
    ----------
    epoch : int
        Its number, from 1, over all calls of `fit`.
    logs : dict of str to float
        What it adds to the history, by the history's names; those of validation begin with `val_`.
    """

    epoch: int
    logs: Mapping[str, float]


Listener: TypeAlias = Callable[[EpochEnd], None]
#: Returns whether the training ends with the epoch.
Stop: TypeAlias = Callable[[EpochEnd], object]
Reply: TypeAlias = Callable[[bytes], None]

#: A thread has its own, so that fits beside each other do not hear each other.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("orca_epoch_listeners", default=())


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let `listener` hear of each epoch of the fits that this thread calls in the block.

    It is called in this thread, once an epoch, in their order, while `fit` runs. Where workers
    cannot reach the driver it is called at the end of `fit`. An error of the listener ends the
    `fit` with that error. An epoch that an earlier program trained, whose `fit` this one resumes,
    is told first.

    Parameters
    ----------
    listener : callable
        Takes an `EpochEnd`.
    """
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def listeners() -> tuple[Listener, ...]:
    """Return this thread's listeners, the outermost first."""
    return _listeners.get()


class Epochs:
    """The epochs of one `fit`, over all of its attempts.

    Parameters
    ----------
    listeners : sequence of Listener
    first : int
        Epochs that were done before the call.
    stop : Stop or None
        Asked after each epoch whether it is the last one.
    """

    def __init__(
        self, listeners: Sequence[Listener] = (), first: int = 0, stop: Stop | None = None
    ) -> None:
        self._listeners, self._stop = tuple(listeners), stop
        self._first = self._told = first
        self._last: int | None = None
        self._is_broken = False
        self._heard: queue.SimpleQueue[tuple[EpochRecorded, Reply] | None] = queue.SimpleQueue()

    def also(self, listener: Listener) -> None:
        """Let one more hear, after the others; before the call begins."""
        self._listeners = (*self._listeners, listener)

    @property
    def asks(self) -> bool:
        """Whether workers must be able to ask after each epoch."""
        return self._stop is not None

    def hear(self, report: EpochRecorded, reply: Reply) -> None:
        """Take a rank's report; called from any thread. `reply` sends that rank a line."""
        self._heard.put((report, reply))

    def wake(self) -> None:
        """End a `wait`; called from any thread."""
        self._heard.put(None)

    def wait(self, seconds: float) -> None:
        """Wait so long for a report, and tell it; in the thread that called `fit`."""
        with contextlib.suppress(queue.Empty):
            self._take(self._heard.get(timeout=seconds))

    @contextlib.contextmanager
    def to_the_end(self) -> Iterator[None]:
        """If the block fails, tell what was heard before that; its error is what the user sees."""
        try:
            yield
        except OrcaError as error:
            try:
                with contextlib.suppress(queue.Empty):
                    while True:
                        self._take(self._heard.get_nowait())
            except Exception as other:  # whatever a listener raises
                error.add_note(f"a listener of epochs failed, too: {type(other).__name__}: {other}")
            raise

    def finish(self, epochs: Sequence[Mapping[str, float]]) -> None:
        """Tell what has not been heard of the call's epochs, which are all here."""
        for number, logs in enumerate(epochs, self._first + 1):
            self._tell(EpochEnd(number, dict(logs)))

    def _take(self, heard: tuple[EpochRecorded, Reply] | None) -> None:
        if heard is None:
            return
        report, reply = heard
        # After a gap the rest is told at the end: listeners hear of epochs in their order.
        if report.epoch == self._told + 1:
            self._tell(EpochEnd(report.epoch, dict(report.logs)))
        if report.asks:
            stop = self._last is not None and report.epoch >= self._last
            # Its process may have ended: then Spark tells.
            with contextlib.suppress(OSError):
                reply(Decided(epoch=report.epoch, stop=stop).to_line())

    def _tell(self, end: EpochEnd) -> None:
        """Tell an epoch, unless it was told; another attempt may train it again."""
        if end.epoch <= self._told or self._is_broken:
            return
        self._told = end.epoch
        try:
            for listener in self._listeners:
                listener(end)
            if self._stop is not None and self._last is None and self._stop(end):
                self._last = end.epoch
        except BaseException:
            self._is_broken = True  # the call ends with this error, and nobody hears more of it
            raise
