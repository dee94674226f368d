"""The default training steps of one rank; those of the user's hooks are in `hook_steps`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any, Protocol, cast

import numpy as np
import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.dense import at_least_some
from zoo.orca.frameworks.torch.exchange import Gradients, clip_norm
from zoo.orca.frameworks.torch.feed import Batch
from zoo.orca.frameworks.torch.metrics.gathered import Gathered
from zoo.orca.frameworks.torch.statistics import Sync, undisturbed
from zoo.orca.frameworks.torch.training.closures import Evaluations, needs_closure
from zoo.orca.frameworks.torch.training.runner import TrainingRunner
from zoo.orca.frameworks.torch.training.schedules import BATCH
from zoo.orca.frameworks.torch.training.totals import Totals, groups
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import Begun
from zoo.orca.worker.timings import Stopwatch

#: Called after each step with the number of finished steps.
Tick = Callable[[int], None]


class EpochSteps(Protocol):
    """A way to run the steps of an epoch."""

    def epoch(
        self, batches: Iterator[Batch], start: int, count: int, tick: Tick, begun: Begun | None
    ) -> int:
        """Run an epoch of up to `count` steps; return how many are done, the same on all ranks."""

    def sums(self) -> State:
        """Return what this rank has added up in the epoch, for an epoch that goes on from here."""

    def results(self) -> dict[str, float]:
        """Return the epoch's results over all workers; called on all ranks."""

    @property
    def loss_so_far(self) -> float | None:
        """The epoch's loss so far on this rank."""

    @property
    def own(self) -> tuple[float, float]:
        """The epoch's loss of this rank: a sum and its divisor."""


def exchanges_of(runner: TrainingRunner, *, overlap: bool = False) -> list[Gradients]:
    """Return one exchange for each optimizer; none for one worker.

    If `overlap`, they may send while gradients are computed.
    """
    if runner.world_size == 1:
        return []
    sparse = {
        id(module.weight)
        for module in runner.whole.modules()
        if isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag)) and module.sparse
    }
    found = []
    for optimizer in runner.optimizers:
        parameters = [
            p for group in optimizer.param_groups for p in group["params"] if p.requires_grad
        ]
        marks = [id(parameter) in sparse for parameter in parameters]
        found.append(Gradients(parameters, marks, runner.world.gradients, overlap=overlap))
    return found


class PlainSteps:
    """The default steps: they run no more Python than a hand-written loop.

    Parameters
    ----------
    runner : TrainingRunner
    sync : Sync or None
        Collective operations inside the model, which a rank without rows must run too.
    gathered : Gathered
        Receives outputs, for metrics.
    """

    def __init__(self, runner: TrainingRunner, sync: Sync | None, gathered: Gathered) -> None:
        if len(runner.optimizers) != 1 or len(runner.models) != 1 or runner.loss_function is None:
            raise ModelError(
                f"the default steps need one model, one optimizer and a loss, and there are "
                f"{len(runner.models)}, {len(runner.optimizers)} and "
                f"{'none' if runner.loss_function is None else 'one'}\nPass them, or a "
                "training_operator_cls with a train_batch of its own"
            )
        self._runner, self._sync = runner, sync
        self._gathered = gathered if gathered.is_wanted else None
        self._loss = runner.loss_function
        self._optimizer = runner.optimizers[0]
        self._parameters = [p for p in runner.whole.parameters() if p.requires_grad]
        #: Other parameters' gradients belong to this rank only, and must not count in a norm.
        self._trained = [p for g in self._optimizer.param_groups for p in g["params"]]
        by_closure = needs_closure(self._optimizer)
        self._evaluations = Evaluations(runner.world.collective) if by_closure else None
        self._value, self._counts = 0.0, True
        self._is_watched = runner.watched["train"]
        # A synchronised model calls the collective itself, and an optimizer evaluates
        # a closure as often as it likes.
        exchanges = exchanges_of(runner, overlap=sync is None and not by_closure)
        self._exchange = exchanges[0] if exchanges else None
        self._clip = runner.options.clip_grad_norm
        self._group = runner.options.gradient_accumulation
        self._is_alone = not exchanges and self._group == 1
        self._seeds: dict[tuple[float, torch.dtype], Any] = {}
        self._autocast = runner.autocast() if runner.options.bf16 else None
        self._divisor: Any = None
        self._timings: Stopwatch | None = runner.world.timings
        self._totals = Totals(runner.device)
        self._adjusts_rate = runner.schedules.is_due(BATCH)

    def epoch(
        self, batches: Iterator[Batch], start: int, count: int, tick: Tick, begun: Begun | None
    ) -> int:
        """Run the steps, with an update for every group of them."""
        with self._exchange.sending() if self._exchange is not None else nullcontext():
            return self._epoch(batches, start, count, tick, begun)

    def _epoch(
        self, batches: Iterator[Batch], start: int, count: int, tick: Tick, begun: Begun | None
    ) -> int:
        self._totals = Totals(self._runner.device)
        runner, done = self._runner, begun.steps if begun is not None else 0
        for part in begun.sums if begun is not None else ():
            self._totals.go_on(part.tensors["totals"])
        watched, by_closure = self._is_watched, self._evaluations is not None
        clock = StepsClock(self._timings, [self._exchange] if self._exchange else [])
        for size in groups(count - done, self._group):
            taken = list(islice(batches, size))
            if not taken:  # a user's loaders have ended
                break
            clock.fed()
            of = None if len(taken) == 1 else sum(batch.of for batch in taken)
            idle, held = True, list[tuple[Batch, int]]()
            for number, batch in enumerate(taken, start=1):
                if self._exchange is not None and number == len(taken):
                    self._exchange.begin_last()
                if watched:
                    given = runner.show(batch, done, "train")
                    batch = batch._replace(features=given.features, target=given.target)
                if by_closure:
                    held.append((batch, start + done))
                else:
                    self._take(batch, start + done, of)
                idle = idle and batch.rows == 0
                done += 1
            self._update(idle, held, of)
            runner.global_step += len(taken)
            clock.computed(len(taken))
            if watched:
                self._watch()
            tick(done)
            clock.called()
            if runner.stop:
                break
        return done

    def _take(self, batch: Batch, step: int, of: int | None) -> None:
        """Compute a batch's part of the gradients."""
        if self._sync is not None:
            # Losses are weighted before the backward pass, so gradients are weighted already.
            self._sync.begin(step, batch.rows, 1.0)
        if batch.rows:
            self._backward(batch, of or batch.of)
        elif self._sync is not None:
            with undisturbed(self._runner.whole, True):
                self._backward(batch, of or batch.of)

    def _backward(self, batch: Batch, of: int) -> None:
        rows = batch.rows
        if self._autocast is None:
            output = self._runner.call_model(batch.features, rows)
            value, divisor = self._loss(output, batch.target, batch.weight)
        else:
            with self._autocast:
                output = self._runner.call_model(batch.features, rows)
                value, divisor = self._loss(output, batch.target, batch.weight)
        if self._is_watched and self._counts:
            self._show(output, value, divisor)
        if rows and self._counts:
            self._totals.add(value, divisor, self._loss.count(rows, batch.of), rows)
            if self._gathered is not None:
                self._gathered.add(output, batch.target, rows)
        if divisor is not None and self._is_alone:
            # Nothing is added to this batch, so its mean is known, and rounded as in a plain loop.
            value, divisor = value / at_least_some(divisor), None
        seed = self._loss.seed(rows, of) if rows else 0.0
        value.backward(None if seed == 1.0 else self._seed(seed, value))
        if rows and self._evaluations is not None:
            self._value += seed * float(value.detach())
        if rows and divisor is not None:
            self._divisor = divisor if self._divisor is None else self._divisor + divisor
        elif divisor is not None and self._divisor is None:
            self._divisor = divisor * 0

    def _show(self, output: Structure, value: torch.Tensor, divisor: torch.Tensor | None) -> None:
        """Let callbacks see a batch's output on this rank."""
        self._runner.output = output
        self._runner.loss = value.detach() if divisor is None else value.detach() / divisor

    def _seed(self, seed: float, value: torch.Tensor) -> torch.Tensor:
        key = (seed, value.dtype)
        if key not in self._seeds:
            if len(self._seeds) > 256:  # ragged shares add keys; few are in use at once
                self._seeds.clear()
            self._seeds[key] = torch.tensor(seed, dtype=value.dtype, device=value.device)
        return self._seeds[key]

    def _update(self, idle: bool, held: list[tuple[Batch, int]], of: int | None) -> None:
        """Let the optimizer step with the batches of a group."""
        if self._evaluations is None:
            self._meet(idle)
            self._optimizer.step()
        else:
            self._evaluations.begin()
            self._optimizer.step(partial(self._evaluate, idle, held, of))
            self._counts = True
        for parameter in self._parameters:
            parameter.grad = None
        if self._adjusts_rate:
            self._runner.adjust_rate(BATCH)

    def _evaluate(self, idle: bool, held: list[tuple[Batch, int]], of: int | None) -> float:
        """Compute loss and gradients of a group's batches over all ranks; called on all ranks.

        The epoch's loss and metrics come from the first evaluation, before the update.
        """
        for parameter in self._parameters:
            parameter.grad = None
        self._value = 0.0
        for batch, step in held:
            self._take(batch, step, of)
        divisor = self._divisor
        self._meet(idle)
        self._counts = False
        evaluations = cast(Evaluations, self._evaluations)
        return evaluations.loss(self._value, 0.0 if divisor is None else float(divisor))

    def _meet(self, idle: bool) -> None:
        """Sum gradients over ranks, and clip their norm."""
        divisor, self._divisor = self._divisor, None
        if self._exchange is not None:
            if divisor is None and self._shares_divisor:
                divisor = torch.zeros((), device=self._runner.device)
            self._exchange(idle=idle, divisor=divisor)
        elif divisor is not None:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.div_(at_least_some(divisor))
        if self._clip is not None:
            clip_norm(self._trained, self._clip)

    @property
    def _shares_divisor(self) -> bool:
        return self._runner.shares_divisor

    def _watch(self) -> None:
        """Call the callbacks after a step, with the epoch's loss over all ranks so far."""
        self._runner.logs = {"loss": self._totals.mean(self._runner.world.collective)}
        self._runner.tell("after_train_iter")
        self._runner.agree_to_stop()

    def sums(self) -> State:
        """Return the sum of the losses and its divisor."""
        return State({"totals": np.array(self._totals.pair())})

    def results(self) -> dict[str, float]:
        """Return the loss."""
        return {"loss": self._totals.mean(self._runner.world.collective)}

    @property
    def loss_so_far(self) -> float | None:
        """The epoch's loss so far on this rank."""
        value, count = self._totals.pair()
        return value / count if count else None

    @property
    def own(self) -> tuple[float, float]:
        """The epoch's loss of this rank, and its weight."""
        return self._totals.pair()


class StepsClock:
    """Times the parts of steps; without a stopwatch it costs nothing."""

    def __init__(self, timings: Stopwatch | None, exchanges: Sequence[Gradients]) -> None:
        self._timings, self._exchanges = timings, exchanges
        self._last = time.perf_counter()
        self._exchanged = self._in_exchanges()

    def fed(self) -> None:
        """Note that a batch has arrived."""
        if self._timings is not None:
            self._add("feed")

    def computed(self, steps: int) -> None:
        """Note that an update is done."""
        if self._timings is None:
            return
        exchanged = self._in_exchanges()
        spent, self._exchanged = exchanged - self._exchanged, exchanged
        self._add("compute", less=spent)
        self._timings.parts["exchange"] += spent
        self._timings.steps += steps

    def called(self) -> None:
        """Note that callbacks have run."""
        if self._timings is not None:
            self._add("callbacks")

    def _in_exchanges(self) -> float:
        return sum(exchange.seconds for exchange in self._exchanges)

    def _add(self, part: str, less: float = 0.0) -> None:
        now = time.perf_counter()
        if self._timings is not None:
            self._timings.parts[part] += now - self._last - less
        self._last = now
