"""The epochs of a training: each is written down, told, and asked about if the job says so."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import numpy as np

from zoo.orca.errors import WorkerError
from zoo.orca.wire.messages.progress import Decided, EpochRecorded, Progress
from zoo.orca.worker.child.mailbox import Letters
from zoo.orca.worker.collective.protocol import Collective

#: Seconds within which the driver must have decided. Its callable may look into a database.
_DECIDES_WITHIN: Final = 300.0


class Ask(Protocol):
    """Asks the driver whether the training ends with an epoch; on rank 0 only."""

    def check(self) -> None:
        """Raise if it is known already that the driver will not answer."""

    def __call__(self, record: EpochRecorded, /) -> bool:
        """Tell the driver an epoch, and return its answer."""


class Asking:
    """Implements `Ask`, by way of the task.

    Parameters
    ----------
    report : callable
        Sends progress to the driver.
    letters : Letters
        Bring the answers.
    """

    def __init__(self, report: Callable[[Progress], None], letters: Letters) -> None:
        self._report, self._letters = report, letters

    def check(self) -> None:
        """Raise if it is known already that the driver will not answer.

        Raises
        ------
        WorkerError
        """
        with contextlib.suppress(TimeoutError):
            self._answer(0.0)

    def __call__(self, record: EpochRecorded) -> bool:
        """Tell the driver an epoch, and return its answer.

        Raises
        ------
        WorkerError
            If no answer comes.
        """
        self._report(replace(record, asks=True))
        try:
            return self._answer(_DECIDES_WITHIN)
        except TimeoutError:
            raise WorkerError(
                f"stop has not answered within {_DECIDES_WITHIN:.0f} s after epoch {record.epoch}\n"
                "Let it decide by the numbers of the epoch, and do what takes longer after fit"
            ) from None

    def _answer(self, seconds: float) -> bool:
        decided = self._letters.take(Decided, seconds=seconds)
        if decided.problem:
            raise WorkerError(decided.problem)
        return decided.stop


class EpochBook:
    """Writes down what each epoch adds to the history; made on all ranks.

    Parameters
    ----------
    collective : Collective
    report : callable
        Sends progress to the driver.
    first : int
        Epochs that were done before the call.
    past : sequence of dict
        The epochs of this call that earlier attempts have trained. The driver may not know them: it
        may be another program.
    ask : Ask or None
        Used on rank 0. None: a job that asks nobody.

    Attributes
    ----------
    epochs : list of dict of str to float
    """

    def __init__(
        self,
        collective: Collective,
        report: Callable[[Progress], None],
        *,
        first: int,
        past: Sequence[Mapping[str, float]] = (),
        ask: Ask | None = None,
    ) -> None:
        self._collective, self._report, self._ask = collective, report, ask
        self._first = first
        if ask is not None and collective.rank == 0:
            ask.check()
        self.epochs: list[dict[str, float]] = []
        for logs in past:
            self._told(self._record(logs))

    @property
    def last(self) -> int:
        """The number of the last epoch that is written down."""
        return self._first + len(self.epochs)

    def ended(self, logs: Mapping[str, float]) -> bool:
        """Write down an epoch, and return whether it is the last one; called on all ranks."""
        record = self._record(logs)
        if self._ask is None:
            self._told(record)
            return False
        decision = np.zeros(1, np.int64)
        if self._collective.rank == 0:
            decision[0] = self._ask(record)
        self._collective.all_reduce(decision)
        return bool(decision[0])

    def _record(self, logs: Mapping[str, float]) -> EpochRecorded:
        self.epochs.append(dict(logs))
        return EpochRecorded(epoch=self.last, logs=self.epochs[-1])

    def _told(self, record: EpochRecorded) -> None:
        if self._collective.rank == 0:
            self._report(record)
