"""Training steps of one rank that the user's hooks run."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.torch.exchange import Gradients, clip_norm
from zoo.orca.frameworks.torch.feed import Batch, Shown
from zoo.orca.frameworks.torch.metrics.gathered import Gathered
from zoo.orca.frameworks.torch.statistics import Sync, undisturbed
from zoo.orca.frameworks.torch.training.closures import Evaluations
from zoo.orca.frameworks.torch.training.operator import TrainingOperator
from zoo.orca.frameworks.torch.training.runner import TrainingRunner
from zoo.orca.frameworks.torch.training.schedules import BATCH
from zoo.orca.frameworks.torch.training.steps import StepsClock, Tick, exchanges_of
from zoo.orca.frameworks.torch.training.totals import reduced
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.wire.torch_options import TorchOptions
from zoo.orca.worker.plugin import Begun


class OperatorSteps:
    """Steps run by the hooks of the user's operator, or by their main callback.

    Gradients are summed over workers in every optimizer's `step`.
    """

    def __init__(
        self,
        runner: TrainingRunner,
        operator: TrainingOperator,
        sync: Sync | None,
        gathered: Gathered,
    ) -> None:
        if runner.options.gradient_accumulation > 1:
            raise ModelError(
                "gradient_accumulation belongs to the default steps\nLeave it out, and accumulate "
                "in train_batch"
            )
        self._runner, self._operator, self._sync = runner, operator, sync
        self._gathered = gathered
        self._updates = 0
        self._rows, self._has_ended = 0, False
        self._values: dict[str, Any] = {}
        self._evaluations = Evaluations(runner.world.collective)
        self._exchanges = exchanges_of(runner)
        for number, optimizer in enumerate(runner.optimizers):
            exchange = self._exchanges[number] if self._exchanges else None
            optimizer.register_step_pre_hook(self._meet(exchange, runner.options))

    def _meet(self, exchange: Gradients | None, options: TorchOptions) -> Callable[..., Any]:
        """Return what an optimizer calls before its step."""
        clip = options.clip_grad_norm

        def meet(optimizer: torch.optim.Optimizer) -> None:
            batch: Shown = self._runner.batch
            if exchange is not None:
                exchange(idle=batch.rows == 0, scale=self._scale(batch))
            if clip is not None:
                clip_norm([p for g in optimizer.param_groups for p in g["params"]], clip)

        def before_step(
            optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            self._updates += 1
            given = kwargs.get("closure") or (args[1] if len(args) > 1 else None)
            if given is None:
                meet(optimizer)
                return None
            # This closure makes the gradients, within the step.
            self._evaluations.begin()
            closure = self._of_all(given, partial(meet, optimizer))
            if len(args) > 1:
                return (args[0], closure, *args[2:]), kwargs
            return args, {**kwargs, "closure": closure}

        return before_step

    def _of_all(self, closure: Callable[[], Any], meet: Callable[[], None]) -> Callable[[], Any]:
        """Turn a closure over this rank's rows into one over all ranks' rows."""

        def evaluate() -> Any:
            loss, batch = closure(), self._runner.batch
            meet()
            if loss is None or self._runner.world_size == 1:
                return loss
            own = self._scale(batch) * float(loss) if batch.rows else 0.0
            return self._evaluations.loss(own, 0.0)

        return evaluate

    def _scale(self, batch: Shown) -> float:
        """Return the weight of this rank's gradients."""
        loss = self._runner.loss_function
        return batch.rows / batch.of if loss is None else loss.seed(batch.rows, batch.of)

    def epoch(
        self, batches: Iterator[Batch], start: int, count: int, tick: Tick, begun: Begun | None
    ) -> int:
        """Pass an epoch's batches to the operator; of one that has begun, those that are left."""
        runner = self._runner
        self._updates = self._rows = 0
        self._has_ended = False
        done = [begun.steps if begun is not None else 0]
        info = {**runner.info, "epoch_idx": runner.epoch}
        values = (
            self._operator.train_epoch(self._watched(batches, start, count, tick, done), info) or {}
        )
        if done[0] < count and not runner.stop and not self._has_ended:
            raise ModelError(
                f"train_epoch has not used all of the epoch's {_number(count)}batches\n"
                "Let it use all, or workers would wait for each other"
            )
        if runner.world_size > 1 and not self._updates:
            raise ModelError(
                "no optimizer that from_torch knows has taken a step, so the workers' models "
                "would differ\nLet optimizer=... make all that train_batch uses"
            )
        self._values = {k: v for k, v in values.items() if k not in ("epoch", "num_samples")}
        return done[0]

    def _watched(
        self, batches: Iterator[Batch], start: int, count: int, tick: Tick, done: list[int]
    ) -> Iterator[Any]:
        runner = self._runner
        # The work of train_epoch before the first batch and after the last is not part of steps.
        clock = StepsClock(runner.world.timings, self._exchanges)
        for taken in islice(batches, count - done[0]):
            clock.fed()
            batch = runner.show(taken, done[0], "train")
            if self._sync is not None:
                self._sync.begin(start + done[0], batch.rows, self._scale(batch) or 1.0)
            with undisturbed(runner.whole, batch.rows == 0):
                yield batch
            done[0] += 1
            self._rows += batch.rows
            self._gathered.add_of_hooks(runner.output, runner.target, batch.rows)
            runner.global_step += 1
            runner.adjust_rate(BATCH)
            clock.computed(1)
            if runner.watched["train"]:
                self._watch(batch)
            elif runner.main_callback is not None:
                runner.agree_to_stop()  # it may have stopped on a rank whose loss is no number
            tick(done[0])
            clock.called()
            if runner.stop:
                return
        self._has_ended = True

    def _watch(self, batch: Shown) -> None:
        runner = self._runner
        if runner.loss is not None:
            values = {"loss": float(runner.of_all(runner.loss.detach()))}
            runner.logs = reduced(values, batch.rows, runner.world.collective)
        runner.tell("after_train_iter")
        runner.agree_to_stop()

    def sums(self) -> State:
        """Return nothing: only the operator knows what it adds up."""
        return State({})

    def results(self) -> dict[str, float]:
        """Return the result of train_epoch, over all workers."""
        values = {name.removeprefix("train_"): value for name, value in self._values.items()}
        return reduced(values, self._rows, self._runner.world.collective)

    @property
    def loss_so_far(self) -> float | None:
        """The last step's loss over this rank's rows."""
        loss = self._runner.loss
        return None if loss is None else float(self._runner.of_all(loss.detach()))

    @property
    def own(self) -> tuple[float, float]:
        """The epoch's loss of this rank, and its weight."""
        value = float(self._values.get("train_loss", np.nan))
        return value * self._rows, float(self._rows)


def _number(count: int) -> str:
    """Return a number of batches; nothing if a user's loaders do not tell it."""
    return "" if count >= ENDLESS else f"{count} "
