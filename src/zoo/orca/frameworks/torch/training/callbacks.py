"""Callbacks under Orca's names; they run on every worker and see the same numbers there.

PyTorch is imported only where it is used, because these bases of a user's class also load on a
driver without it. A method gets the runner, which has

* ``model``, ``models``, ``optimizer``, ``optimizers``, ``scheduler``, ``schedulers``,
  ``criterion``, ``config``, ``rank``, ``size``;
* ``epochs``, the finished ones over all calls of `fit`; ``epoch``, the current one, from 0;
  ``global_step``, ``batch_idx``;
* ``batch``, a tuple ``(*features, target)``, which ``before_train_iter`` may replace; ``output``,
  ``target`` and ``loss`` of this worker's rows, after a step;
* ``logs``, numbers over all workers; ``epoch_stats``, an epoch's, after it;
* ``train_loader`` and ``val_loader``, which have a ``len``; ``num_epochs``, which
  ``before_run`` may set; ``stop``, which ends training on all workers if set to True;
* ``put``, ``get``, ``update``, ``remove`` for values that callbacks share;
  ``save_checkpoint(path)``, ``get_state_dict()``.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.orca.errors import MissingPackageError
from zoo.orca.frameworks.torch.training.closures import stepped

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.runner import TrainingRunner


class Callback:
    """Acts at certain moments of a run; override what is needed.

    Attributes
    ----------
    writes : bool
        Whether it runs on rank 0 only, because it writes.
    """

    writes = False

    def before_run(self, runner: "TrainingRunner") -> None:
        """Run before the first epoch."""

    def after_run(self, runner: "TrainingRunner") -> None:
        """Run after the last epoch."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return what this callback counts; a checkpoint of `fit` holds it.

        It is made of tensors, numbers, text, lists, tuples and dicts.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned, after `before_run` of an attempt that goes on."""

    def before_epoch(self, runner: "TrainingRunner") -> None:
        """Run before each epoch of training or validation."""

    def after_epoch(self, runner: "TrainingRunner") -> None:
        """Run after each epoch of training or validation."""

    def before_iter(self, runner: "TrainingRunner") -> None:
        """Run before each step of training or validation."""

    def after_iter(self, runner: "TrainingRunner") -> None:
        """Run after each step of training or validation."""

    def before_train_epoch(self, runner: "TrainingRunner") -> None:
        """Run before each epoch of training."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: "TrainingRunner") -> None:
        """Run after each epoch, validation included; ``runner.logs`` has its results."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: "TrainingRunner") -> None:
        """Run before each step of training."""
        self.before_iter(runner)

    def after_train_iter(self, runner: "TrainingRunner") -> None:
        """Run after each step of training; ``runner.logs`` has the epoch's loss so far."""
        self.after_iter(runner)

    def before_val_epoch(self, runner: "TrainingRunner") -> None:
        """Run before validation."""
        self.before_epoch(runner)

    def after_val_epoch(self, runner: "TrainingRunner") -> None:
        """Run after validation; ``runner.logs`` has its results."""
        self.after_epoch(runner)

    def before_val_iter(self, runner: "TrainingRunner") -> None:
        """Run before each step of validation."""
        self.before_iter(runner)

    def after_val_iter(self, runner: "TrainingRunner") -> None:
        """Run after each step of validation."""
        self.after_iter(runner)

    def before_pred_epoch(self, runner: "TrainingRunner") -> None:
        """Run before each task's part of a prediction."""
        self.before_epoch(runner)

    def after_pred_epoch(self, runner: "TrainingRunner") -> None:
        """Run after each task's part of a prediction."""
        self.after_epoch(runner)

    def before_pred_iter(self, runner: "TrainingRunner") -> None:
        """Run before each call of a prediction; ``runner.batch`` has its features."""
        self.before_iter(runner)

    def after_pred_iter(self, runner: "TrainingRunner") -> None:
        """Run after each call of a prediction, which is of ``runner.output``."""
        self.after_iter(runner)

    def every_n_epochs(self, runner: "TrainingRunner", n: int) -> bool:
        """Return whether the number of finished epochs, with this one, is a multiple of `n`."""
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_iters(self, runner: "TrainingRunner", n: int) -> bool:
        """Return whether the number of finished steps is a multiple of `n`."""
        return n > 0 and runner.global_step % n == 0


class MainCallback(Callback):
    """Defines the parts of a step; a call may have at most one such callback.

    Gradients are summed over workers wherever ``optimizer.step()`` is called.
    """

    def on_iter_forward(self, runner: "TrainingRunner") -> None:
        """Set ``runner.output`` and ``runner.loss`` from ``runner.batch``."""
        with runner.autocast():
            runner.output = runner.call_model(runner.batch.features)
            runner.loss = runner.criterion(runner.output, runner.batch.target)

    def on_iter_backward(self, runner: "TrainingRunner") -> None:
        """Compute gradients and update the model."""
        shown, losses = (runner.output, runner.target), [runner.loss]

        def forward() -> Any:
            if not losses:  # an optimizer that evaluates the model within its step
                self.on_train_forward(runner)
                return runner.loss
            return losses.pop()

        runner.loss = stepped(runner.optimizers[0], forward)
        runner.output, runner.target = shown

    def on_lr_adjust(self, runner: "TrainingRunner") -> None:
        """Step the schedules, by batch or by epoch as `scheduler_step_freq` says."""
        runner.step_schedulers()

    def on_train_forward(self, runner: "TrainingRunner") -> None:
        """Run the forward pass of a step of training."""
        self.on_iter_forward(runner)

    def on_val_forward(self, runner: "TrainingRunner") -> None:
        """Run the forward pass of a step of validation."""
        self.on_iter_forward(runner)

    def on_pred_forward(self, runner: "TrainingRunner") -> None:
        """Set ``runner.output`` from the features ``runner.batch``, in a prediction."""
        runner.output = runner.call_model(runner.batch)


class ModelCheckpoint(Callback):
    """Writes the model's state with `torch.save` at the end of epochs, or at intervals of steps.

    Parameters
    ----------
    filepath : str
        A local path on rank 0's machine, which is relative to the program's directory, or a URL. It
        may contain ``{epoch}`` (from 1), ``{step}`` or ``{iter}`` (steps over all calls of `fit`),
        and names of results. Without one of them, the file is overwritten each time.
    save_weights_only : bool
        Whether the file is a bare state_dict. Otherwise it is a dict of epoch, models, optimizers
        and schedules. `Estimator.load` reads both.
    by_epoch : bool
        Whether `interval` counts epochs or steps.
    interval : int
        The number of epochs or steps between files; -1: every epoch, or every step.
    """

    writes = True

    def __init__(
        self,
        filepath: str = "",
        save_weights_only: bool = False,
        by_epoch: bool = True,
        interval: int = -1,
    ) -> None:
        self.filepath = filepath or "checkpoint-{epoch}.pt"
        self.save_weights_only = save_weights_only
        self.by_epoch = by_epoch
        self.interval = max(interval, 1)

    def after_train_epoch(self, runner: "TrainingRunner") -> None:
        """Write if an epoch's end is due."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._write(runner)

    def after_train_iter(self, runner: "TrainingRunner") -> None:
        """Write if a step's end is due."""
        if not self.by_epoch and self.every_n_iters(runner, self.interval):
            self._write(runner)

    @property
    def looks_at_steps(self) -> bool:
        """Whether it needs single steps."""
        return not self.by_epoch

    def _write(self, runner: "TrainingRunner") -> None:
        names = {**runner.logs, "epoch": runner.epoch + 1, "step": runner.global_step}
        names["iter"] = runner.global_step
        runner.save_checkpoint(self.filepath.format(**names), self.save_weights_only)


class TensorBoardCallback(Callback):
    """Writes results for TensorBoard, on rank 0.

    Parameters
    ----------
    log_dir : str, optional
        A directory on rank 0's machine; by default TensorBoard's own choice.
    freq : "epoch", "batch" or int
        When to write: at the end of epochs, of every step, or after this many steps.
    """

    writes = True

    def __init__(self, log_dir: str | None = None, freq: str | int = "epoch") -> None:
        self.log_dir = log_dir
        self.steps = {"epoch": 0, "batch": 1}.get(str(freq), freq)
        self._writer: Any = None

    @property
    def looks_at_steps(self) -> bool:
        """Whether it needs single steps."""
        return bool(self.steps)

    def before_run(self, runner: "TrainingRunner") -> None:
        """Open the files."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                "TensorBoardCallback needs tensorboard on the workers\n"
                "Install it there: pip install tensorboard"
            ) from error
        self._writer = SummaryWriter(self.log_dir)

    def after_train_iter(self, runner: "TrainingRunner") -> None:
        """Write the loss so far."""
        if self.steps and self.every_n_iters(runner, int(self.steps)):
            self._write(runner, runner.global_step)

    def after_train_epoch(self, runner: "TrainingRunner") -> None:
        """Write the epoch's results."""
        if not self.steps:
            self._write(runner, runner.epoch + 1)

    def after_run(self, runner: "TrainingRunner") -> None:
        """Close the files."""
        self._writer.close()

    def _write(self, runner: "TrainingRunner", at: int) -> None:
        for name, value in runner.logs.items():
            self._writer.add_scalar(name, value, at)


class TqdmCallback(Callback):
    """Accepted as in Orca; no-op, because the driver shows the progress of every run."""


class MaxstepsCallback(Callback):
    """Trains a given number of steps, in as many epochs as they take, whatever `epochs` says.

    Parameters
    ----------
    max_step : int
    """

    def __init__(self, max_step: int) -> None:
        self.max_step = max_step

    def before_run(self, runner: "TrainingRunner") -> None:
        """Set the run's last step: a check in each step would cost an exchange."""
        end = runner.first_step + self.max_step
        runner.last_step = end if runner.last_step is None else min(runner.last_step, end)


def makes_forward(callbacks: Sequence[object]) -> bool:
    """Whether one of some callbacks runs the model itself."""
    names = ("on_iter_forward", "on_train_forward", "on_val_forward", "on_iter_backward")
    return any(
        isinstance(one, MainCallback)
        and any(getattr(type(one), name) is not getattr(MainCallback, name) for name in names)
        for one in callbacks
    )


_STEP_HOOKS = {
    "train": ("before_iter", "after_iter", "before_train_iter", "after_train_iter"),
    "val": ("before_iter", "after_iter", "before_val_iter", "after_val_iter"),
}


def looks_at_steps(callback: Callback, phase: str) -> bool:
    """Whether a callback wants to be called in each step of "train" or "val"."""
    if not getattr(callback, "looks_at_steps", True):
        return False
    kind = type(callback)
    return any(getattr(kind, n) is not getattr(Callback, n) for n in _STEP_HOOKS[phase])
