"""A `fit` that an earlier attempt may have begun: one that Spark gave up, or another program."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.messages.progress import Warned
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import Checkpoints
from zoo.orca.worker.child.epochs import Ask, EpochBook
from zoo.orca.worker.plugin import (
    Begun,
    Data,
    Framework,
    Trained,
    World,
    check_state_size,
    is_too_large,
)

#: With a checkpoint every so many seconds, ranks look at rank 0's clock about so often.
_LOOK_SECONDS = 0.5


class Resumable:
    """The rest of a `fit`, and how its parts are joined. Made on all ranks.

    Parameters
    ----------
    job : TrainJob
    world : World
    ask : Ask or None
        Asks the driver after each epoch whether it is the last one.

    Attributes
    ----------
    job : TrainJob
        The remaining epochs, from the newest checkpoint on.
    world : World
        With what saves checkpoints, if the job has a `model_dir`.
    is_over : bool
        Whether an epoch has ended that is the last one.
    """

    def __init__(self, job: TrainJob, world: World, ask: Ask | None = None) -> None:
        self._checkpoints = Checkpoints(job.checkpoints)
        self._past: dict[str, list[float]] = {}
        self._last = job.initial_epoch + job.epochs
        self.is_over = self._is_early = False
        self._is_root = world.rank == 0
        newest = self._checkpoints.newest(
            world.collective, lambda text: world.report(Warned(text=text))
        )
        begun, first = None, job.initial_epoch
        self._ended = _ended_in(newest)
        if newest is not None:
            if newest.steps:
                # Another number of workers adds up what it gets.
                own = newest.sums[world.rank :: world.size]
                begun = Begun(steps=newest.steps, sums=own)
            epoch = int(newest.state.meta["epoch"])
            self._past = newest.history
            state = newest.state.to_bytes()
            job = replace(job, state=state, initial_epoch=epoch, epochs=self._last - epoch)
        self.job = job
        self._book = EpochBook(
            world.collective,
            world.report,
            first=first,
            past=newest.epochs if newest is not None else (),
            ask=ask,
        )
        saver = None
        if job.model_dir is not None:
            saver = _Saver(self, job, world, begun.steps if begun is not None else 0)
        self.world = replace(
            world,
            saver=saver,
            begun=begun,
            past_epochs=job.initial_epoch - first,
            counted=newest.counted if newest is not None else None,
            epoch_ended=self._epoch_ended,
        )

    @property
    def epochs(self) -> list[dict[str, float]]:
        """What each epoch of all attempts together has added to the history."""
        return self._book.epochs

    def _epoch_ended(
        self, logs: Mapping[str, float], /, *, is_stopped: bool, is_last: bool
    ) -> bool:
        """Write down an epoch, and return whether the driver ends with it; called on all ranks."""
        is_ended = self._book.ended(logs)
        self.is_over = is_ended or is_stopped or is_last
        self._is_early = self.is_over and not is_last
        return is_ended

    def whole(self, history: Mapping[str, list[float]]) -> dict[str, list[float]]:
        """Return the history of all attempts together."""
        names = dict.fromkeys([*self._past, *history])
        return {name: self._past.get(name, []) + list(history.get(name, ())) for name in names}

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """If the block fails, let it fail only when nothing is being written any more.

        The driver tidies up after a failure. A later write would undo that.
        """
        try:
            yield
        except BaseException:
            self._checkpoints.abandon()
            raise

    def train(self, framework: Framework, data: Data, validation: Data | None) -> Trained:
        """Train what is left; called on all ranks.

        Where an earlier attempt has ended before it had trained all epochs, that is nothing.
        """
        if self._ended is not None:
            return self._ended
        with self.training():
            return framework.train(self.job, data, validation, self.world)

    def finish(self, trained: Trained) -> tuple[bytes, str]:
        """Take the final state on rank 0; return it, or the path it was written to.

        Checkpoints stay. If the state is lost on its way to the driver, the next attempt repeats
        the last epoch. It could not know of an end that a callback or the driver has brought about,
        so such an end leaves a checkpoint that says so.

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
        state = trained.state()
        check_state_size(state.nbytes, self.job)
        if self._is_early:
            checkpoint = Checkpoint(
                state=state, history=dict(trained.history), outputs=trained.outputs
            )
            self.keep(checkpoint)
            self._checkpoints.finish()
        if not is_too_large(state.nbytes, self.job):
            return state.to_bytes(), ""
        return b"", self._checkpoints.keep(state)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint with the history of all attempts; on rank 0 only."""
        whole = self.whole(checkpoint.history)
        self._checkpoints.save(replace(checkpoint, history=whole, epochs=[*self.epochs]))


def _ended_in(newest: Checkpoint | None) -> Trained | None:
    """Return the result of a training that a checkpoint says has ended; None if it goes on."""
    if newest is None or newest.outputs is None:
        return None
    state = newest.state
    return Trained(history={}, state=lambda: state, outputs=newest.outputs)


class _Saver:
    """Implements `zoo.orca.worker.plugin.Saver`."""

    def __init__(self, fit: Resumable, job: TrainJob, world: World, begun: int) -> None:
        self._fit, self._collective = fit, world.collective
        self._steps, self._seconds = job.checkpoint_steps, job.checkpoint_seconds
        self._saved = self._looked = time.monotonic()
        self._taken, self._gap = 0, 1
        self._done = begun

    @property
    def within_epochs(self) -> bool:
        """Whether there are checkpoints within epochs."""
        return self._steps is not None or self._seconds is not None

    def is_due(self, steps: int) -> bool:
        """Whether to save the epoch of which `steps` steps are done; called on all ranks."""
        before, self._done = self._done if self._done < steps else 0, steps
        # Steps of one update, and those that an epoch had before, end together.
        if self._steps is not None and steps // self._steps > before // self._steps:
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

    def save(
        self,
        state: Callable[[], State],
        history: Mapping[str, list[float]],
        *,
        counted: Callable[[], State] | None = None,
    ) -> None:
        """Save the state at the end of an epoch; called on all ranks."""
        self._saved = time.monotonic()
        # After the last epoch the state itself goes back.
        if self._collective.rank == 0 and not self._fit.is_over:
            own = counted() if counted is not None else None
            self._fit.keep(Checkpoint(state=state(), history=dict(history), counted=own))

    def save_within(
        self,
        state: Callable[[], State],
        history: Mapping[str, list[float]],
        steps: int,
        sums: State,
        *,
        counted: Callable[[], State] | None = None,
    ) -> None:
        """Save the state within an epoch; called on all ranks."""
        self._saved = time.monotonic()
        told = self._collective.all_gather(sums.to_bytes())
        if self._collective.rank == 0:
            parts = tuple(State.from_bytes(bytes(one)) for one in told)
            checkpoint = Checkpoint(
                state=state(),
                history=dict(history),
                steps=steps,
                sums=parts,
                counted=counted() if counted is not None else None,
            )
            self._fit.keep(checkpoint)
