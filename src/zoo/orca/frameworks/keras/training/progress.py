"""What a `fit` has come to: its history and its state, at any step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zoo.orca.frameworks.common.cursor import cursor
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.counts import read_counts
from zoo.orca.frameworks.keras.saving.state import read_state
from zoo.orca.frameworks.keras.saving.tables import Table, tables
from zoo.orca.frameworks.keras.training.callbacks import numbers
from zoo.orca.frameworks.keras.training.position import LoopPosition
from zoo.orca.frameworks.keras.types import KerasCallback
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.plugin import Saver, World


@dataclass(kw_only=True)
class FitProgress:
    """The results of a `fit` so far: its history and its state."""

    made: KerasModel
    begun: State | None
    job: TrainJob
    plan: Plan
    loop: LoopPosition
    callbacks: Sequence[KerasCallback]
    records: Any
    tables: Sequence[Table] = field(init=False)

    def __post_init__(self) -> None:
        # Training does not change them, and it takes a while to read them.
        self.tables = tables(self.made)

    def history(self) -> dict[str, list[float]]:
        """Return one list of floats for each of Keras's names."""
        found: dict[str, list[float]] = {}
        for name, values in self.records.history.items():
            for value in values:
                for key, one in numbers({name: value}).items():
                    found.setdefault(key, []).append(one)
        return found

    def state(self, within: int = 0) -> State:
        """Return the current state, with the position in the rows to continue from.

        Parameters
        ----------
        within : int
            The steps of the epoch that is under way.
        """
        done = self.begun.meta.get("step", 0) if self.begun is not None else 0
        taken = self.loop.taken + within
        place = cursor(self.plan, self.loop.first + taken)
        epoch = self.job.initial_epoch + self.loop.ended
        meta = {"epoch": epoch, "step": done + taken, "cursor": place}
        return read_state(self.made, meta, known=self.tables)

    def counted(self) -> State:
        """Return what the user's callbacks have counted; on rank 0, where all of them run."""
        return read_counts(self.callbacks, self.job.model.framework)

    def save_within(self, saver: Saver, steps: int, sums: State) -> None:
        """Save within an epoch, after its last step that ended."""
        state = partial(self.state, self.loop.step + 1)
        saver.save_within(state, self.history(), steps, sums, counted=self.counted)

    def save(self, world: World) -> None:
        """Offer the state for a checkpoint."""
        if world.saver is not None:
            world.saver.save(self.state, self.history(), counted=self.counted)
