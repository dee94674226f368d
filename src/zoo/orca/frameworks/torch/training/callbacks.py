"""Callbacks under Orca's names; they run on every worker and see the same numbers there.

PyTorch is imported only where it is used: a user's class has these bases on the driver without it.
A method gets the runner, which has

* ``model``, ``models``, ``optimizer``, ``optimizers``, ``scheduler``, ``schedulers``,
  ``criterion``, ``config``, ``rank``, ``size``;
* ``epochs``, those that are done over all calls of `fit`; ``epoch``, the present one, from 0;
  ``global_step``, ``batch_idx``;
* ``batch``, a tuple ``(*features, target)``, which ``before_train_iter`` may replace; ``output``,
  ``target`` and ``loss`` of this worker's rows, after a step;
* ``logs``, numbers over all workers; ``epoch_stats``, an epoch's, after it;
* ``train_loader`` and ``val_loader``, of which ``len`` is known; ``num_epochs``, which
  ``before_run`` may set; ``stop``, which set to True ends training everywhere;
* ``put``, ``get``, ``update``, ``remove`` for what callbacks tell each other;
  ``save_checkpoint(path)``, ``get_state_dict()``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.orca.errors import MissingPackageError
from zoo.orca.frameworks.torch.training.closures import stepped

if TYPE_CHECKING:
    from zoo.orca.frameworks.torch.training.runner import TrainingRunner


class Callback:
    """Does something at certain moments of a run; override what is needed.

    Attributes
    ----------
    writes : bool
        Whether it runs on rank 0 alone, because it writes.
    """

    writes = False

    def before_run(self, runner: "TrainingRunner") -> None:
        """Be called before the first epoch."""

    def after_run(self, runner: "TrainingRunner") -> None:
        """Be called after the last epoch."""

    def before_epoch(self, runner: "TrainingRunner") -> None:
        """Be called before each epoch of training or validation."""

    def after_epoch(self, runner: "TrainingRunner") -> None:
        """Be called after each epoch of training or validation."""

    def before_iter(self, runner: "TrainingRunner") -> None:
        """Be called before each step of training or validation."""

    def after_iter(self, runner: "TrainingRunner") -> None:
        """Be called after each step of training or validation."""

    def before_train_epoch(self, runner: "TrainingRunner") -> None:
        """Be called before each epoch of training."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: "TrainingRunner") -> None:
        """Be called after each epoch, validation included; ``runner.logs`` has its results."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: "TrainingRunner") -> None:
        """Be called before each step of training."""
        self.before_iter(runner)

    def after_train_iter(self, runner: "TrainingRunner") -> None:
        """Be called after each step of training; ``runner.logs`` has the epoch's loss so far."""
        self.after_iter(runner)

    def before_val_epoch(self, runner: "TrainingRunner") -> None:
        """Be called before validation."""
        self.before_epoch(runner)

    def after_val_epoch(self, runner: "TrainingRunner") -> None:
        """Be called after validation; ``runner.logs`` has its results."""
        self.after_epoch(runner)

    def before_val_iter(self, runner: "TrainingRunner") -> None:
        """Be called before each step of validation."""
        self.before_iter(runner)

    def after_val_iter(self, runner: "TrainingRunner") -> None:
        """Be called after each step of validation."""
        self.after_iter(runner)

    def every_n_epochs(self, runner: "TrainingRunner", n: int) -> bool:
        """Whether `n` epochs, or a multiple of it, are done with this one."""
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_iters(self, runner: "TrainingRunner", n: int) -> bool:
        """Whether `n` steps of all, or a multiple of it, are done."""
        return n > 0 and runner.global_step % n == 0


class MainCallback(Callback):
    """What a step is made of; at most one of a call's callbacks may be one.

    Gradients meet wherever ``optimizer.step()`` is called.
    """

    def on_iter_forward(self, runner: "TrainingRunner") -> None:
        """Set ``runner.output`` and ``runner.loss`` by ``runner.batch``."""
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
        """Let the schedules take a step, by batch or by epoch as `scheduler_step_freq` says."""
        runner.step_schedulers()

    def on_train_forward(self, runner: "TrainingRunner") -> None:
        """Run the forward pass of a step of training."""
        self.on_iter_forward(runner)

    def on_val_forward(self, runner: "TrainingRunner") -> None:
        """Run the forward pass of a step of validation."""
        self.on_iter_forward(runner)


class ModelCheckpoint(Callback):
    """Writes the model's state with `torch.save` at the end of epochs, or every so many steps.

    Parameters
    ----------
    filepath : str
        A local path on rank 0's machine or a URL; ``{epoch}`` (from 1), ``{step}`` and names of
        results may stand in it. Without one of them it is overwritten each time.
    save_weights_only : bool
        Whether the file is a bare state_dict; else a dict of epoch, models, optimizers and
        schedulers. `Estimator.load` reads both from a path that ends in ``.pt``.
    by_epoch : bool
        Whether `interval` counts epochs or steps.
    interval : int
        Write every so many; -1: every epoch, or every step.
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
        """Write if an epoch's end is when to."""
        if self.by_epoch and self.every_n_epochs(runner, self.interval):
            self._write(runner)

    def after_train_iter(self, runner: "TrainingRunner") -> None:
        """Write if a step's end is when to."""
        if not self.by_epoch and self.every_n_iters(runner, self.interval):
            self._write(runner)

    @property
    def looks_at_steps(self) -> bool:
        """Whether single steps matter."""
        return not self.by_epoch

    def _write(self, runner: "TrainingRunner") -> None:
        names = {**runner.logs, "epoch": runner.epoch + 1, "step": runner.global_step}
        runner.save_checkpoint(self.filepath.format(**names), self.save_weights_only)


class TensorBoardCallback(Callback):
    """Writes results for TensorBoard, on rank 0.

    Parameters
    ----------
    log_dir : str, optional
        A directory on rank 0's machine; by default TensorBoard's own choice.
    freq : "epoch", "batch" or int
        When: at the end of epochs, of every step, or of every so many steps.
    """

    writes = True

    def __init__(self, log_dir: str | None = None, freq: str | int = "epoch") -> None:
        self.log_dir = log_dir
        self.steps = {"epoch": 0, "batch": 1}.get(str(freq), freq)
        self._writer: Any = None

    @property
    def looks_at_steps(self) -> bool:
        """Whether single steps matter."""
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
    """Accepted as in Orca; the driver shows the progress of every run by itself."""


class MaxstepsCallback(Callback):
    """Trains so many steps, in as many epochs as they take, whatever `epochs` says.

    Parameters
    ----------
    max_step : int
    """

    def __init__(self, max_step: int) -> None:
        self.max_step = max_step

    def before_run(self, runner: "TrainingRunner") -> None:
        """Say with which step the run ends: to look at each would cost an exchange in it."""
        end = runner.first_step + self.max_step
        runner.last_step = end if runner.last_step is None else min(runner.last_step, end)


def makes_forward(callbacks: Sequence[object]) -> bool:
    """Whether one of some callbacks runs the model by itself."""
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
