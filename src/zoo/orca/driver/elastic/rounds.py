"""A call that goes on with the workers that fit: one stage after another, until one has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from zoo.orca.driver.elastic.checkpoints import epochs_saved
from zoo.orca.driver.elastic.decisions import fewer_workers
from zoo.orca.driver.elastic.watch import SlotsAreBack
from zoo.orca.errors import SlotsError
from zoo.orca.wire.messages.results import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """How a call may go on.

    Parameters
    ----------
    wanted, least : int
        The most and the fewest workers.
    patience : float
        Seconds to wait for slots where nobody knows how many there are.
    master : str
        The cluster's name, for errors.
    checkpoints : str
        The directory of the call's checkpoints; empty if it has none.
    first_epoch : int
        Epochs that were done before the call.
    tell : callable
        Shows the user a line.
    """

    wanted: int
    least: int
    patience: float
    master: str
    checkpoints: str
    first_epoch: int
    tell: Callable[[str], None]

    def run(self, run: Callable[[int], Outcome]) -> Outcome:
        """Return what `run` returns for as many workers as there are slots, at each time.

        Parameters
        ----------
        run : callable
            Runs the call with so many workers, from its newest checkpoint.

        Raises
        ------
        SlotsError
            If there are slots for fewer than the fewest.
        """
        workers, waits = self.wanted, True
        while True:
            try:
                return run(workers)
            except SlotsAreBack as back:
                workers = back.workers
                self.tell(f"slots for {workers} workers are back: {self._going_on(workers)}")
            except SlotsError as error:
                if error.slots is None and waits:
                    # The same number once more: an executor may have come back.
                    waits = False
                    time.sleep(self.patience)
                    continue
                fits = fewer_workers(workers, self.least, error.slots)
                if fits is None:
                    raise self._too_few(error) from None
                workers = fits
                missing = f"slots for {self.wanted - workers} of {self.wanted} workers are missing"
                self.tell(f"{missing}: {self._going_on(workers)}")

    def _going_on(self, workers: int) -> str:
        text = f"going on with {workers}"
        if not self.checkpoints:
            return text
        return f"{text} from epoch {max(epochs_saved(self.checkpoints), self.first_epoch) + 1}"

    def _too_few(self, cause: SlotsError) -> SlotsError:
        found = "fewer" if cause.slots is None else str(cause.slots)
        lower = f", lower min_workers to {cause.slots}" if cause.slots else ""
        done = epochs_saved(self.checkpoints)
        kept = f": fit(resume=True) goes on after epoch {done}, which is in {self.checkpoints}"
        error = SlotsError(
            f"min_workers={self.least}: {self.least} workers need {self.least} slots at the same "
            f"time, and {self.master} has {found}\n"
            f"Bring executors back{lower}, or wait longer (spark.orca.elastic.patience), and call "
            f"again{kept if done > 0 else ''}"
        )
        error.slots = cause.slots
        return error
