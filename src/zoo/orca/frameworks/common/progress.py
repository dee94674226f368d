"""What the driver hears of a training: steps, not often, and how epochs begin and end."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, StepTaken, Warned
from zoo.orca.wire.plan import Plan, global_rows
from zoo.orca.worker.plugin import World

_SECONDS = 0.2


class TrainingReporter:
    """Tells the driver, on rank 0; on other ranks it says nothing.

    Parameters
    ----------
    world : World
    plan : Plan
        Of the rows that are trained on.
    epochs : int
        The number with which the last epoch ends, over all calls of `fit`.

    Attributes
    ----------
    epochs : int
    """

    def __init__(self, world: World, plan: Plan, epochs: int = 0) -> None:
        self._world, self._plan = world, plan
        self._is_on = world.rank == 0
        self.epochs = epochs
        self._epoch = self._start = self._steps = 0
        self._began = self._last = time.monotonic()
        self._warned = False

    def begin(self, epoch: int, start: int, steps: int) -> None:
        """Tell of an epoch's beginning.

        Parameters
        ----------
        epoch : int
        start : int
            The step, over all passes, with which it begins.
        steps : int
        """
        self._epoch, self._start, self._steps = epoch, start, steps
        self._began = self._last = time.monotonic()
        if self._is_on:
            self._world.report(EpochBegan(epoch=epoch, epochs=self.epochs, steps=steps))

    def step(self, done: int, logs: Callable[[], Mapping[str, float]]) -> None:
        """Tell of the steps that are done, if the last that were told are some time ago.

        Parameters
        ----------
        done : int
        logs : callable
            Returns what they have come to; it is called only if that is told.
        """
        now = time.monotonic()
        if not self._is_on or not done or now - self._last < _SECONDS:
            return
        self._last = now
        self._world.report(StepTaken(step=done, **self._so_far(done, logs())))

    def end(self, done: int, logs: Mapping[str, float]) -> None:
        """Tell of an epoch's end; a value that is not finite is a warning, once."""
        if not self._is_on:
            return
        self._steps = done
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
        """Return what is told of an epoch's steps and of its end alike."""
        return {
            "epoch": self._epoch,
            "epochs": self.epochs,
            "steps": self._steps,
            "rows": int(global_rows(self._plan, self._start, done).sum()),
            "seconds": time.monotonic() - self._began,
            "logs": dict(logs),
        }
