"""A `fit` that an earlier attempt of the stage may have begun, before Spark gave it up."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import HISTORY, Checkpoints
from zoo.orca.worker.plugin import World, check_state_size, is_too_large


class Resumable:
    """The rest of a `fit`, and how its parts are joined. Made on all ranks.

    Attributes
    ----------
    job : TrainJob
        The remaining epochs, from the newest checkpoint on.
    world : World
        With a checkpoint directory on rank 0 of a job that has a `model_dir`.
    """

    def __init__(self, job: TrainJob, world: World) -> None:
        self._checkpoints = Checkpoints(job.checkpoints)
        self._past: dict[str, list[float]] = {}
        self._last = job.initial_epoch + job.epochs
        self._is_root = world.rank == 0
        newest = self._checkpoints.newest(world.collective)
        if newest is not None:
            epoch = int(newest.meta["epoch"])
            self._past = newest.meta.pop(HISTORY)
            job = replace(
                job, state=newest.to_bytes(), initial_epoch=epoch, epochs=self._last - epoch
            )
        self.job = job
        keeps = self._is_root and job.model_dir is not None
        self.world = replace(world, checkpoint=self._save if keeps else None)

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
        if not self._is_root:
            return b"", ""
        state = take()
        check_state_size(state.nbytes, self.job)
        if not is_too_large(state.nbytes, self.job):
            return state.to_bytes(), ""
        return b"", self._checkpoints.keep(state)

    def _save(self, state: Callable[[], State], history: Mapping[str, list[float]]) -> None:
        now = state()
        # After the last epoch the state itself goes back.
        if int(now.meta["epoch"]) < self._last:
            meta = {**now.meta, HISTORY: self.whole(history)}
            self._checkpoints.save(State(now.tensors, meta))
