"""Reports training to the driver: occasional steps, and the start and end of epochs."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, StepTaken, Warned
from zoo.orca.wire.plans.live import ENDLESS, LivePlan
from zoo.orca.wire.plans.plan import Plan, global_rows
from zoo.orca.worker.plugin import World

_SECONDS = 0.2


class TrainingReporter:
    """Reports to the driver on rank 0; no-op on other ranks.

    Parameters
    ----------
    world : World
    plan : Plan
        The plan of the training rows.
    epochs : int
        The number of the last epoch, over all calls of `fit`.

    Attributes
    ----------
    epochs : int
    """

    def __init__(self, world: World, plan: Plan, epochs: int = 0) -> None:
        self._world, self._plan = world, plan
        self._is_on = world.rank == 0
        self.epochs = epochs
        self._epoch = self._start = 0
        self._began = self._last = time.monotonic()
        self._warned = False

    def begin(self, epoch: int, start: int, steps: int) -> None:
        """Report the start of an epoch.

        Parameters
        ----------
        epoch : int
        start : int
            Its first step, numbered over all passes.
        steps : int
        """
        self._epoch, self._start = epoch, start
        self._began = self._last = time.monotonic()
        if self._is_on:
            if steps >= ENDLESS:
                steps = (self._plan.expected or 0) if isinstance(self._plan, LivePlan) else 0
            self._world.report(EpochBegan(epoch=epoch, epochs=self.epochs, steps=steps))

    def step(self, done: int, logs: Callable[[], Mapping[str, float]]) -> None:
        """Report the finished steps, unless the last report is recent.

        Parameters
        ----------
        done : int
        logs : callable
            Returns the logs of the finished steps. Called only if they are reported.
        """
        now = time.monotonic()
        if not self._is_on or not done or now - self._last < _SECONDS:
            return
        self._last = now
        self._world.report(StepTaken(**self._so_far(done, logs())))

    def end(self, done: int, logs: Mapping[str, float]) -> None:
        """Report the end of an epoch; warn once if a value is not finite."""
        if not self._is_on:
            return
        self._world.report(EpochEnded(**self._so_far(done, logs)))
        bad = [name for name, value in logs.items() if not math.isfinite(value)]
        if bad and not self._warned:
            self._warned = True
            self.warn(f"{', '.join(bad)} is not a finite number after epoch {self._epoch + 1}")

    def warn(self, text: str) -> None:
        """Tell the user each line of a text."""
        for line in text.splitlines() if self._is_on else ():
            self._world.report(Warned(text=line))

    def _so_far(self, done: int, logs: Mapping[str, float]) -> dict[str, Any]:
        """Return the part that reports of steps and of an epoch's end share."""
        return {
            "steps": done,
            "rows": int(global_rows(self._plan, self._start, done).sum()),
            "seconds": time.monotonic() - self._began,
            "logs": dict(logs),
        }
