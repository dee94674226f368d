"""A `fit` that an earlier attempt may have begun: one that Spark gave up, or another program."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import Checkpoints
from zoo.orca.worker.plugin import Begun, World, check_state_size, is_too_large

_HISTORY = "history"
#: Of a checkpoint within an epoch: the steps that are done, and what each rank has added up.
_STEPS, _SUMS = "epoch_steps", "epoch_sums"
#: With a checkpoint every so many seconds, ranks look at rank 0's clock about so often.
_LOOK_SECONDS = 0.5


class Resumable:
    """The rest of a `fit`, and how its parts are joined. Made on all ranks.

    Attributes
    ----------
    job : TrainJob
        The remaining epochs, from the newest checkpoint on.
    world : World
        With what saves checkpoints, if the job has a `model_dir`.
    """

    def __init__(self, job: TrainJob, world: World) -> None:
        self._checkpoints = Checkpoints(job.checkpoints)
        self._past: dict[str, list[float]] = {}
        self._last = job.initial_epoch + job.epochs
        self._is_root = world.rank == 0
        newest = self._checkpoints.newest(world.collective)
        begun = None
        if newest is not None:
            begun = _taken_apart(newest, world)
            epoch = int(newest.meta["epoch"])
            self._past = newest.meta.pop(_HISTORY)
            job = replace(
                job, state=newest.to_bytes(), initial_epoch=epoch, epochs=self._last - epoch
            )
        self.job = job
        saver = _Saver(self, job, world) if job.model_dir is not None else None
        self.world = replace(world, saver=saver, begun=begun)

    def whole(self, history: Mapping[str, list[float]]) -> dict[str, list[float]]:
        """Return the history of all attempts together."""
        names = dict.fromkeys([*self._past, *history])
        return {name: self._past.get(name, []) + list(history.get(name, ())) for name in names}

    def finish(self, take: Callable[[], State]) -> tuple[bytes, str]:
        """Take the final state on rank 0; return it, or the path it was written to.

        Checkpoints stay. If the state is lost on its way to the driver, the next attempt repeats
        the last epoch.

        Returns
        -------
        bytes
            The state. It is empty on other ranks, and if it is too large for the stage's rows.
        str
            The path in `model_dir`, in that case.

        Raises
        ------
        StateError
            If the state is too large and there is no `model_dir`.
        """
        self._checkpoints.finish()
        if not self._is_root:
            return b"", ""
        state = take()
        check_state_size(state.nbytes, self.job)
        if not is_too_large(state.nbytes, self.job):
            return state.to_bytes(), ""
        return b"", self._checkpoints.keep(state)

    def keep(self, state: State, history: Mapping[str, list[float]], steps: int = 0) -> None:
        """Write a checkpoint; on rank 0 only."""
        # After the last epoch the state itself goes back.
        if int(state.meta["epoch"]) < self._last:
            meta = {**state.meta, _HISTORY: self.whole(history)}
            self._checkpoints.save(State(state.tensors, meta), steps)


class _Saver:
    """Implements `zoo.orca.worker.plugin.Saver`."""

    def __init__(self, fit: Resumable, job: TrainJob, world: World) -> None:
        self._fit, self._collective = fit, world.collective
        self._steps, self._seconds = job.checkpoint_steps, job.checkpoint_seconds
        self._saved = self._looked = time.monotonic()
        self._taken, self._gap = 0, 1

    @property
    def within_epochs(self) -> bool:
        """Whether there are checkpoints within epochs."""
        return self._steps is not None or self._seconds is not None

    def is_due(self, steps: int) -> bool:
        """Whether to save the epoch of which `steps` steps are done; called on all ranks."""
        if self._steps is not None and steps % self._steps == 0:
            return True
        return self._seconds is not None and self._is_time(self._seconds)

    def _is_time(self, seconds: float) -> bool:
        """Ask rank 0's clock, once in some steps: the answer is the same on all ranks."""
        self._taken += 1
        if self._taken < self._gap:
            return False
        now = time.monotonic()
        told = np.zeros(2, np.int64)
        if self._collective.rank == 0:
            pace = self._taken / max(now - self._looked, 1e-9)
            told[:] = now - self._saved >= seconds, pace * min(_LOOK_SECONDS, seconds / 4)
        self._collective.all_reduce(told)
        self._taken, self._looked = 0, now
        self._gap = max(int(told[1]), 1)
        return bool(told[0])

    def save(self, state: Callable[[], State], history: Mapping[str, list[float]]) -> None:
        """Save the state at the end of an epoch; called on all ranks."""
        self._saved = time.monotonic()
        if self._collective.rank == 0:
            self._fit.keep(state(), history)

    def save_within(
        self,
        state: Callable[[], State],
        history: Mapping[str, list[float]],
        steps: int,
        sums: State,
    ) -> None:
        """Save the state within an epoch; called on all ranks."""
        self._saved = time.monotonic()
        told = self._collective.all_gather(sums.to_bytes())
        if self._collective.rank == 0:
            now = state()
            parts = {
                f"{_SUMS}/{rank}": np.frombuffer(bytes(one), np.uint8)
                for rank, one in enumerate(told)
            }
            meta = {**now.meta, _STEPS: steps}
            self._fit.keep(State({**now.tensors, **parts}, meta), history, steps)


def _taken_apart(state: State, world: World) -> Begun | None:
    """Take what a checkpoint within an epoch has beside the state out of it."""
    steps = int(state.meta.pop(_STEPS, 0))
    names = [name for name in state.tensors if name.startswith(f"{_SUMS}/")]
    parts = [State.from_bytes(state.tensors.pop(name).tobytes()) for name in names]
    if not steps:
        return None
    # Other numbers of workers add up what they get.
    return Begun(steps=steps, sums=tuple(parts[world.rank :: world.size]))
