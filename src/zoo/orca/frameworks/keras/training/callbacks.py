"""Callbacks: which of the user's run where, and Orca's own before and after them.

::

    First   follows the loop; undoes batches without rows; makes a step's logs global
    ...     the user's; those that write run on rank 0 only
    History
    Last    agrees with all workers whether to stop; progress, warnings, checkpoints
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.progress import TrainingReporter
from zoo.orca.frameworks.keras.models import KerasModel, value_of
from zoo.orca.frameworks.keras.saving.counts import write_counts
from zoo.orca.frameworks.keras.training.metrics import restore
from zoo.orca.frameworks.keras.training.position import LoopPosition
from zoo.orca.frameworks.keras.training.quiet import has_hook
from zoo.orca.frameworks.keras.training.randomness import seed_epoch
from zoo.orca.frameworks.keras.training.remote import send_to_url
from zoo.orca.frameworks.keras.training.within import Within
from zoo.orca.frameworks.keras.types import KerasCallback, Model, StepLogs, Tensor, Variable
from zoo.orca.wire.messages.progress import Warned
from zoo.orca.worker.plugin import World

#: Those that write files or send messages. All others act on the model, so on all ranks alike.
_WRITERS = ("ModelCheckpoint", "OrbaxCheckpoint", "TensorBoard", "CSVLogger", "RemoteMonitor")
_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_TEST_HOOKS = ("on_test_batch_begin", "on_test_batch_end")


@dataclass(frozen=True)
class Hooks:
    """The moments at which the user's callbacks want to be called."""

    train: bool
    test: bool


def hooks_of(callbacks: Sequence[KerasCallback], base: type) -> Hooks:
    """Return whether any callback uses single steps; the same on all ranks."""
    return Hooks(
        any(_looks(one, base, _BATCH_HOOKS) for one in callbacks),
        any(_looks(one, base, _TEST_HOOKS) for one in callbacks),
    )


def _looks(callback: KerasCallback, base: type, names: Sequence[str]) -> bool:
    # Keras's own callbacks that write have batch hooks, used only with some settings.
    frequency = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
    if frequency == "epoch" and type(callback).__module__.startswith(("keras.", "tf_keras.")):
        return False
    return has_hook(callback, base, names)


def user_callbacks(
    made: KerasModel, callbacks: Sequence[KerasCallback], world: World
) -> list[KerasCallback]:
    """Return the user's callbacks that run on this rank.

    Raises
    ------
    ModelError
        If one belongs to the other Keras version.
    """
    keras = made.keras.package()
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ModelError(
                f"the callback {type(callback).__qualname__} is of "
                f"{type(callback).__module__.partition('.')[0]}, and the model is of Keras "
                f"{made.keras.VERSION}\nMake it from {keras.__name__}.callbacks"
            )
    running = list(callbacks) if world.size == 1 else _of_rank(callbacks, world)
    for callback in running:
        send_to_url(callback)
    return running


def _of_rank(callbacks: Sequence[KerasCallback], world: World) -> list[KerasCallback]:
    """Return those that run on this rank: those that write do so on rank 0 only."""
    running = []
    for callback in callbacks:
        names = {kind.__name__ for kind in type(callback).__mro__ if _is_keras_own(kind)}
        if "BackupAndRestore" in names:
            if world.rank == 0:
                text = "BackupAndRestore does nothing on several workers: give a model_dir instead"
                world.report(Warned(text=text))
        elif world.rank == 0 or not names.intersection(_WRITERS):
            running.append(callback)
    return running


def _is_keras_own(kind: type) -> bool:
    return kind.__module__.startswith(("keras.", "tf_keras."))


@dataclass(kw_only=True)
class Frame:
    """The part that Orca's own callbacks share.

    Attributes
    ----------
    step_logs : callable
        Converts a step's logs and this rank's share to global logs.
    reporter : TrainingReporter
    pacing : list
        The callback that sets how many steps a call runs, if one may.
    seed : int
        The job's seed.
    last : int
        The number of the job's last epoch.
    users : sequence
        All the user's callbacks, including those of other ranks.
    within : Within or None
        Goes on within an epoch, and saves within epochs.
    """

    made: KerasModel
    world: World
    loop: LoopPosition
    hooks: Hooks
    reporter: TrainingReporter
    step_logs: Callable[[Any, float], dict[str, float]]
    pacing: list[KerasCallback]
    seed: int
    last: int = 0
    users: Sequence[KerasCallback] = ()
    within: Within | None = None

    @property
    def several(self) -> bool:
        """Whether there are other workers."""
        return self.world.size > 1


class _NoRows:
    """Undoes a step for which this rank had no rows."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._before: list[tuple[Variable, NDArray[Any]]] | None = None
        self._step = 0

    def begin(self, step: int) -> None:
        """Save the variables' values if the step has no rows, or may have none."""
        self._before, self._step = None, step
        if self._frame.several and self._frame.loop.part.is_idle(step) is not False:
            self._before = [(v, value_of(v).copy()) for v in self._variables()]

    def end(self) -> None:
        """Restore the saved values, but those of variables that became trainable meanwhile."""
        if self._before is not None and self._frame.loop.part.is_idle(self._step):
            now = self._variables()
            known = {id(variable) for variable in now}
            restore([pair for pair in self._before if id(pair[0]) in known], now)

    def _variables(self) -> list[Variable]:
        made = self._frame.made
        return [*made.metric_variables(), *made.non_trainable_variables]


def first_callback(frame: Frame) -> KerasCallback:
    """Return the callback that runs before the user's.

    It has a hook for the end of steps only if the loop is watched, because Keras waits for it.
    """
    base = frame.made.keras.package().callbacks.Callback
    loop, no_rows = frame.loop, _NoRows(frame)
    reporter = frame.reporter

    def logs_so_far() -> dict[str, float]:
        frame.made.keras.sync(frame.made.model)
        return numbers(frame.made.model.get_metrics_result())

    watch_train, watch_test = loop.watched["train"], loop.watched["test"]

    class First(base):  # type: ignore[misc, valid-type]
        """Follows the loop."""

        _supports_tf_logs = True

        def on_epoch_begin(self, epoch: int, logs: StepLogs = None) -> None:
            loop.begin("train")
            seed_epoch(frame.made, frame.seed, frame.world, loop.part.start)
            reporter.epochs = int(self.params.get("epochs") or 0)
            reporter.begin(epoch, loop.part.start, loop.part.count)

        def on_train_batch_begin(self, batch: int, logs: StepLogs = None) -> None:
            loop.step = batch
            reporter.step(batch, logs_so_far)
            if watch_train:
                no_rows.begin(batch)

        def on_test_begin(self, logs: StepLogs = None) -> None:
            loop.end_training()
            loop.begin("test")

        def on_test_batch_begin(self, batch: int, logs: StepLogs = None) -> None:
            loop.step = batch
            if watch_test:
                no_rows.begin(batch)

        def on_test_end(self, logs: StepLogs = None) -> None:
            loop.phase = ""

    if watch_train:
        First.on_train_batch_end = _step_end(frame, no_rows, frame.hooks.train)
    if watch_test:
        First.on_test_batch_end = _step_end(frame, no_rows, frame.hooks.test)
    return First()


def _step_end(frame: Frame, no_rows: _NoRows, wanted: bool) -> Callable[..., None]:
    """Return a callback's method for the end of a step."""
    loop = frame.loop

    def on_batch_end(self: KerasCallback, batch: int, logs: dict[str, Any]) -> None:
        loop.step = batch
        no_rows.end()
        if wanted and frame.several and loop.phase:
            merged = frame.step_logs(logs, loop.part.share(batch))
            # Keras passes the same dict to later callbacks.
            logs.clear()
            logs.update(merged)

    return on_batch_end


def last_callback(frame: Frame, save: Callable[[], None] | None) -> KerasCallback:
    """Return the callback that runs after the user's and after Keras's history.

    Parameters
    ----------
    frame : Frame
    save : callable or None
        Called at the end of each epoch.
    """
    base = frame.made.keras.package().callbacks.Callback
    loop = frame.loop

    class Last(base):  # type: ignore[misc, valid-type]
        """Ends epochs alike on all ranks."""

        _supports_tf_logs = True

        def on_train_begin(self, logs: StepLogs = None) -> None:
            if frame.world.counted is not None:
                write_counts(frame.users, frame.world.counted)

        def on_epoch_begin(self, epoch: int, logs: StepLogs = None) -> None:
            if frame.users:
                # A rank that is stopped alone would leave the epoch, and others wait for it.
                _agree(frame, self.model)

        def on_epoch_end(self, epoch: int, logs: StepLogs = None) -> None:
            loop.end_training()
            _agree(frame, self.model)
            recorded = numbers(logs)
            frame.reporter.end(loop.first + loop.taken - loop.part.start, recorded)
            is_stopped, is_last = bool(self.model.stop_training), epoch + 1 == frame.last
            if frame.world.epoch_ended(recorded, is_stopped=is_stopped, is_last=is_last):
                self.model.stop_training = True
            loop.end_epoch()
            if save is not None:
                save()

    agrees, within = frame.hooks.train and frame.several, frame.within
    watches = within is not None and within.watches

    def on_train_batch_end(self: KerasCallback, batch: int, logs: StepLogs = None) -> None:
        if agrees:
            _agree(frame, self.model)
        # What a callback ends here is not saved: whoever went on from it would train on.
        if within is not None:
            within.step_ended(batch + 1, saves=not frame.made.model.stop_training)

    if agrees or watches:
        Last.on_train_batch_end = on_train_batch_end
    return Last()


def _agree(frame: Frame, model: Model) -> None:
    """Stop on all ranks if any rank wants to; called on all ranks."""
    if frame.several:
        flag = np.array([bool(model.stop_training)], np.int64)
        frame.world.collective.all_reduce(flag)
        model.stop_training = bool(flag[0])


def numbers(logs: StepLogs) -> dict[str, float]:
    """Return logs as plain floats; an array becomes one entry per element."""
    found: dict[str, float] = {}
    for name, value in (logs or {}).items():
        array = np.asarray(_on_host(value), np.float64)
        if array.ndim == 0:
            found[str(name)] = float(array)
        else:
            flat = array.reshape(-1).tolist()
            found.update({f"{name}_{k}": float(one) for k, one in enumerate(flat)})
    return found


def _on_host(value: Tensor) -> Any:
    """Return what numpy can read: torch's tensors may be on a GPU, and of a type of its own."""
    return value.detach().cpu().tolist() if hasattr(value, "detach") else value
