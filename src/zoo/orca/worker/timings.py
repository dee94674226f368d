"""Where one worker's time goes: the phases of a job, and the parts of its steps."""

import time
from collections.abc import Callable

from zoo.orca.wire.messages.results import Timings

#: The parts of a step's time, in the order of display.
PARTS = ("feed", "compute", "exchange", "callbacks")


class Stopwatch:
    """A stopwatch for one job on one worker.

    Parameters
    ----------
    clock : callable
        Returns seconds.

    Attributes
    ----------
    phases : dict of str to float
        Seconds of each phase of the job, in the order in which they first ended.
    steps : int
        The training steps that `parts` sums over.
    parts : dict of str to float
        Seconds spent on each of `PARTS`: waiting for rows; computing; summing gradients over
        workers, including the wait for the slowest; in callbacks and between steps.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._since = clock()
        self.phases: dict[str, float] = {}
        self.steps = 0
        self.parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def end(self, phase: str) -> None:
        """Add the time since the last call to a phase."""
        now = self._clock()
        self.add(phase, now - self._since)
        self._since = now

    def add(self, phase: str, seconds: float) -> None:
        """Add time to a phase that overlapped with others."""
        self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def timings(self) -> Timings:
        """Return the times so far."""
        return Timings(phases=dict(self.phases), steps=self.steps, parts=dict(self.parts))
