"""Within an epoch: where one goes on, and where checkpoints are made."""

from collections.abc import Callable
from typing import TypeAlias

from zoo.orca.frameworks.keras.training.metrics import Logs
from zoo.orca.frameworks.keras.training.position import LoopPosition
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import Saver, World

#: Saves what there is after so many steps of an epoch, with what this rank has added up in it.
Save: TypeAlias = Callable[[Saver, int, State], None]


class Within:
    """Goes on within the first epoch, and saves within epochs; called on all ranks.

    Parameters
    ----------
    world : World
    loop : LoopPosition
    logs : Logs
    average : callable
        Makes the statistics equal on all ranks.
    seed : callable
        Seeds what goes on with a step, numbered over all passes.
    """

    def __init__(
        self,
        world: World,
        loop: LoopPosition,
        logs: Logs,
        average: Callable[[], None],
        seed: Callable[[int], None],
    ) -> None:
        self._saver, self._begun = world.saver, world.begun
        self._loop, self._logs, self._average, self._seed = loop, logs, average, seed
        self.save: Save | None = None

    @property
    def saves(self) -> bool:
        """Whether there are checkpoints within epochs."""
        return self._saver is not None and self._saver.within_epochs

    @property
    def watches(self) -> bool:
        """Whether it must know when a step ends."""
        return self.saves or self._begun is not None

    def step_ended(self, step: int, *, saves: bool) -> None:
        """After the first `step` steps of the loop's epoch, save if it is due and `saves`."""
        loop, saver = self._loop, self._saver
        begun, self._begun = self._begun, None
        if begun is not None:
            # Not before the first step: it may be what makes the metrics.
            self._logs.go_on(begun.sums)
        done = loop.begun + step
        if saver is None or not self.saves or self.save is None:
            return
        if not saves or step >= loop.part.count:
            return
        if saver.is_due(done):
            self._average()
            self.save(saver, done, self._logs.sums())
            # A run that goes on from here draws the same random numbers.
            self._seed(loop.part.start + step)
