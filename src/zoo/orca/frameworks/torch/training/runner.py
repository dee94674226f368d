"""The parts of a run, as callbacks and operators see them."""

import contextlib
import io
import json
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import ModelError
from zoo.orca.files import write_bytes
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.feed import Batch, Shown
from zoo.orca.frameworks.torch.models import TorchModel, call_model
from zoo.orca.frameworks.torch.row_shapes import RowShapes
from zoo.orca.frameworks.torch.saving.resumed import MADE
from zoo.orca.frameworks.torch.training.callbacks import Callback, MainCallback, looks_at_steps
from zoo.orca.frameworks.torch.training.counts import read_counts, write_counts
from zoo.orca.frameworks.torch.training.losses import Loss, SumLoss
from zoo.orca.frameworks.torch.training.schedules import EPOCH, Schedules
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.packing import State, unpack
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.wire.torch_options import TorchOptions
from zoo.orca.worker.plugin import World


class TrainingRunner:
    """The state of one run on this rank.

    Attributes
    ----------
    models, optimizers, schedulers : list
    model : torch.nn.Module
    config : dict
    rank, world_size : int
    device : torch.device
    epoch, global_step, batch_idx : int
        Counted from 0; `global_step` over all calls of `fit`.
    batch : Batch
    output, target, loss : tensor
        Of the step, if an operator or a callback runs it.
    logs : dict of str to float
        Results over all workers, the same on each.
    stop : bool
        Set it to end training; all workers stop if one wants to.
    train_loader : sized
        Its length is the number of steps in an epoch.
    num_epochs : int
        Epochs of this call, with those that earlier attempts have trained; a callback's
        `before_run` may change it.
    first_step : int
        The number of this call's first step.
    last_step : int or None
        The number of this call's last step, over all calls, whatever `num_epochs` is. A callback's
        `before_run` may set it.
    """

    def __init__(
        self, made: TorchModel, world: World, loss: Loss | None, options: TorchOptions
    ) -> None:
        self.made, self.world = made, world
        self.models, self.model, self.whole = made.models, made.models[0], made.model
        self.config, self.device = made.config, made.device
        self.rank, self.size = world.rank, world.size
        self.world_size = world.size
        self.loss_function = loss
        self.options = options
        self.info: dict[str, Any] = unpack(options.info) if options.info else {}
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[torch.optim.lr_scheduler.LRScheduler] = []
        self.schedules = Schedules([], None, False)
        self._moment = EPOCH
        self.epoch = self.global_step = self.batch_idx = 0
        self.batch: Any = None
        self.output: Any = None
        self.target: Any = None
        self.loss: Any = None
        self.logs: dict[str, float] = {}
        self.stop = False
        self.train_loader: Sized = ()
        self.val_loader: Sized | None = None
        self.epochs = self.num_epochs = self.first_step = 0
        self.epoch_stats: dict[str, float] | None = None
        self._pocket: dict[str, Any] = {}
        self.last_step: int | None = None
        self.main_callback: MainCallback | None = None
        #: Describes optimizers and schedules, for runs that continue from their state.
        self.made_of: dict[str, Any] = {}
        self.row_shapes: RowShapes | None = None
        #: Whether losses are divided by the ranks' joint divisor.
        self.shares_divisor = False
        self._callbacks: list[Callback] = []
        self._given: list[Callback] = []
        self.has_callbacks = self.has_own_validation = False
        self.watched = {"train": False, "val": False}
        self._callable = self.models[0]
        if options.compile:
            self._callable = torch.compile(self.models[0])
        self._half = options.bf16

    def begin(self, job: TrainJob, plan: Plan) -> None:
        """Set what is known about the training's length."""
        self.train_loader = range(job.steps_per_epoch or plan.steps_per_pass)
        self.num_epochs = self.world.past_epochs + job.epochs
        first = self.options.first_step
        self.first_step = self.global_step if first is None else first
        self.last_step = self.options.last_step

    def agree_on_length(self, begun: int) -> int:
        """Return this call's steps, the same on all ranks; called on all ranks.

        A callback may have changed the length on some ranks only. Of the first epoch, `begun` steps
        are done.
        """
        own = (self.num_epochs, self.last_step)
        told = [own]
        if self.world_size > 1 and self.has_callbacks:
            messages = self.world.collective.all_gather(json.dumps(own).encode())
            told = [json.loads(bytes(message)) for message in messages]
        self.num_epochs = max(epochs for epochs, _ in told)
        ends = [end for _, end in told if end is not None]
        self.last_step = min(ends) if ends else None
        if self.last_step is None:
            epochs = max(self.num_epochs - self.world.past_epochs, 0)
            return max(epochs * len(self.train_loader) - begun, 0)
        return max(self.last_step - self.global_step, 0)

    def use_callbacks(self, given: Sequence[Callback]) -> None:
        """Set the user's callbacks; those that write run on rank 0 only.

        Raises
        ------
        ModelError
            If one is not Orca's, or there are several main ones.
        """
        for callback in given:
            if not isinstance(callback, Callback):
                raise ModelError(
                    f"the callback {type(callback).__qualname__} is none of "
                    "zoo.orca.learn.pytorch.callbacks\nDerive it from Callback"
                )
        mains = [callback for callback in given if isinstance(callback, MainCallback)]
        if len(mains) > 1:
            raise ModelError(
                f"there may be one MainCallback, and there are {len(mains)}\n"
                "Put what they do into one class"
            )
        self.main_callback = mains[0] if mains else None
        # All ranks must know whether any rank watches steps.
        for phase in self.watched:
            self.watched[phase] = any(looks_at_steps(one, phase) for one in given)
        self._given = list(given)
        self._callbacks = [one for one in given if self.rank == 0 or not one.writes]
        self.has_callbacks = bool(given)
        self.has_own_validation = any(
            getattr(type(self.main_callback), name, None) not in (None, default)
            for name, default in vars(MainCallback).items()
            if name in ("on_iter_forward", "on_val_forward")
        )

    @property
    def has_own_prediction(self) -> bool:
        """Whether the user's main callback runs the model in a prediction."""
        default = MainCallback.on_pred_forward
        return getattr(type(self.main_callback), "on_pred_forward", default) is not default

    def tell(self, moment: str) -> None:
        """Call one method of every callback."""
        for callback in self._callbacks:
            getattr(callback, moment)(self)

    def counted(self) -> State:
        """Return what callbacks have counted; on rank 0, where all of them run."""
        return read_counts(self._given)

    def count_on(self) -> None:
        """Let callbacks go on with what an earlier attempt's have counted."""
        if self.world.counted is not None:
            write_counts(self._given, self.world.counted)

    def show(self, batch: Batch, index: int, phase: str) -> Shown:
        """Let callbacks see a step's batch, and return their version of it.

        The values of the last step are cleared.
        """
        shown = self.batch = batch.shown()
        self.batch_idx = index
        self.output = self.loss = None
        if self.watched[phase]:
            self.tell(f"before_{phase}_iter")
            shown = self.batch = shown.replaced_by(self.batch)
        self.target = shown.target
        return shown

    def autocast(self) -> Any:
        """Return the context of the forward pass."""
        if not self._half:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def call_model(self, features: Structure, rows: int = 0) -> Structure:
        """Call the first model with features, by position or by keyword.

        Outputs have a row axis even for one row. The caller may pass the number of rows, because
        finding it out in each step is slow.
        """
        if isinstance(features, (list, tuple)) and len(features) == 1:
            if isinstance(features[0], Mapping):
                features = features[0]
        output = call_model(self._callable, features)
        if rows > 1 or self.row_shapes is None or _rows(features) > 1:
            return output
        return self.row_shapes.of_one_row(output)

    def criterion(self, *values: Structure) -> Any:
        """Return the loss of the current batch, a scalar.

        Parameters
        ----------
        *values : object
            The output and the target; or, as in Orca, the outputs one by one, then all targets of
            the batch.

        Raises
        ------
        ModelError
            If there is no loss, or one whose divisor only all ranks know.
        """
        if self.loss_function is None:
            raise ModelError("there is no loss\nPass from_torch(loss=...)")
        output, target = values if len(values) == 2 else self._split(values)
        value, divisor = self.loss_function(output, target, self.batch.weight)
        if divisor is None:
            return value
        if self.world_size > 1 and self.whole.training:
            raise ModelError(
                "a loss with class weights or ignored labels cannot be put together over workers "
                "when an operator or a MainCallback runs the steps\nUse the default ones"
            )
        return value / divisor

    def _split(self, values: tuple[Any, ...]) -> tuple[Any, Any]:
        """Split outputs and targets that were passed one by one."""
        target = self.batch.target
        count = len(target) if isinstance(target, (list, tuple)) else 1
        outputs, targets = values[:-count], values[-count:]
        return (
            outputs[0] if len(outputs) == 1 else outputs,
            targets[0] if count == 1 else targets,
        )

    def of_all(self, value: torch.Tensor) -> torch.Tensor:
        """Scale a loss of this rank's rows so that its mean over rows is the global batch's.

        A mean over rows already is such a loss. Sums of ranks add up: a sum over 3 of 4 rows must
        have the weight of 4, as in the default steps.
        """
        batch = self.batch
        if not isinstance(self.loss_function, SumLoss) or batch.rows in (0, batch.of):
            return value
        return value * (batch.of / batch.rows)

    @property
    def metrics_stats(self) -> dict[str, float]:
        """The step's loss on this worker, and its rows."""
        if self.loss is None or self.batch is None:
            return {}
        return {"train_loss": float(self.loss), "num_samples": self.batch.rows}

    @property
    def optimizer(self) -> Any:
        """The first optimizer; None in an evaluation."""
        return self.optimizers[0] if self.optimizers else None

    @property
    def scheduler(self) -> Any:
        """The first learning-rate schedule, or None."""
        return self.schedulers[0] if self.schedulers else None

    @property
    def lr_scheduler(self) -> Any:
        """An older name of `scheduler`."""
        return self.scheduler

    def put(self, key: str, value: object) -> None:
        """Store a value for other callbacks of this call."""
        self._pocket[key] = value

    def update(self, key: str, value: object) -> None:
        """Replace a stored value."""
        self._pocket[key] = value

    def get(self, key: str) -> Any:
        """Return a stored value."""
        return self._pocket[key]

    def remove(self, key: str) -> None:
        """Remove a stored value."""
        del self._pocket[key]

    def use_schedulers(self, schedulers: list[torch.optim.lr_scheduler.LRScheduler]) -> None:
        """Set the learning-rate schedules; called after the callbacks are set."""
        self.schedulers = schedulers
        frequency = self.made.part("scheduler_step_freq")
        self.schedules = Schedules(schedulers, frequency, self._adjusts_rate)

    @property
    def _adjusts_rate(self) -> bool:
        """Whether the user's main callback steps the schedules."""
        default = MainCallback.on_lr_adjust
        return getattr(type(self.main_callback), "on_lr_adjust", default) is not default

    def step_schedulers(self) -> None:
        """Step the learning-rate schedules once."""
        self.schedules.step(self._moment, self.logs)

    def adjust_rate(self, moment: str) -> None:
        """Step the schedules that are due at this moment, "batch" or "epoch"."""
        if not self.schedules.is_due(moment):
            return
        self._moment = moment
        if self._adjusts_rate and self.main_callback is not None:
            self.main_callback.on_lr_adjust(self)
        else:
            self.step_schedulers()

    def agree_to_stop(self) -> None:
        """Stop on all ranks if any rank wants to; called on all ranks."""
        if self.world_size > 1:
            flag = np.array([bool(self.stop)], np.int64)
            self.world.collective.all_reduce(flag)
            self.stop = bool(flag[0])

    def save_checkpoint(self, filepath: str, save_weights_only: bool = False) -> str:
        """Write the state as `ModelCheckpoint` does, on rank 0; return the path."""
        if self.rank == 0:
            buffer = io.BytesIO()
            weights = self.whole.state_dict
            torch.save(weights() if save_weights_only else self.state_dict(), buffer)
            write_bytes(filepath, buffer.getvalue())
        return filepath

    def get_state_dict(self) -> dict[str, Any]:
        """Return the state; Orca's name for it."""
        return self.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Return everything in Orca's checkpoints in PyTorch's format."""
        return {
            "epoch": self.epoch + 1,
            "step": self.global_step,
            "models": [model.state_dict() for model in self.models],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            MADE: self.made_of,
        }


def _rows(features: Structure) -> int:
    first = next(iter(features.values() if isinstance(features, Mapping) else features))
    return len(first)
