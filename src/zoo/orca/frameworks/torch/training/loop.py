"""One `fit` or `evaluate` of a PyTorch model on one of several workers: joins the parts."""

import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.cursor import begun_with, cursor, first_step
from zoo.orca.frameworks.common.progress import TrainingReporter
from zoo.orca.frameworks.torch.feed import Batch, TensorFeed
from zoo.orca.frameworks.torch.loader_feed import LoaderFeed
from zoo.orca.frameworks.torch.metrics.gathered import Gathered
from zoo.orca.frameworks.torch.models import seed_all
from zoo.orca.frameworks.torch.saving.resumed import MADE
from zoo.orca.frameworks.torch.saving.state import read_state, training_bytes
from zoo.orca.frameworks.torch.statistics import Buffers, Sync, batch_norms
from zoo.orca.frameworks.torch.training.callbacks import MainCallback
from zoo.orca.frameworks.torch.training.hook_steps import OperatorSteps
from zoo.orca.frameworks.torch.training.losses import SumLoss
from zoo.orca.frameworks.torch.training.runner import TrainingRunner
from zoo.orca.frameworks.torch.training.schedules import EPOCH
from zoo.orca.frameworks.torch.training.session import TorchSession
from zoo.orca.frameworks.torch.training.steps import EpochSteps, PlainSteps
from zoo.orca.frameworks.torch.training.totals import Totals, reduced
from zoo.orca.wire.job import EvaluateJob, TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import ENDLESS, LivePlan
from zoo.orca.wire.plans.plan import global_rows
from zoo.orca.worker.plugin import (
    Begun,
    Data,
    Evaluated,
    Saver,
    Trained,
    World,
    check_state_size,
)

#: Orca's name in the history for an epoch's rows over all workers.
NUM_SAMPLES = "num_samples"


def train(
    session: TorchSession, job: TrainJob, data: Data, validation: Data | None, world: World
) -> Trained:
    """Train for the job's epochs; called on all ranks."""
    fit = _Fit(session, job, data, validation, world)
    try:
        return fit.run()
    finally:
        fit.close()


class _Fit:
    """One `fit`."""

    def __init__(
        self,
        session: TorchSession,
        job: TrainJob,
        data: Data,
        validation: Data | None,
        world: World,
    ) -> None:
        self._session, self._job = session, job
        self._feed, plan = session.data, session.data.plan
        self._world = begun_with(world, session.state, plan)
        self._runner, self._plan = session.runner, plan
        session.check_labels(data)
        if validation is not None:
            session.check_labels(validation, " of validation_data")
        self._validation = session.feed(validation) if validation is not None else None
        # Of a user's loader, the session has begun with its first step.
        self._is_live = isinstance(plan, LivePlan)
        #: Whether an epoch is a pass that ends when the loaders do.
        self._is_open = self._is_live and job.steps_per_epoch is None
        self._first = first_step(session.state, plan)
        if isinstance(self._feed, LoaderFeed):
            self._feed.over_passes = job.steps_per_epoch is not None
        self._taken = self._left = 0
        self._before = int(session.state.meta.get("step", 0)) if session.state else 0
        self._runner.global_step = self._before
        self._runner.begin(job, plan)
        sync = self._sync()
        self._gathered = Gathered(session.training_metrics, world.collective, training=True)
        self._told = self._is_weighed = False
        self._steps: EpochSteps
        if session.has_own_steps:
            self._steps = OperatorSteps(self._runner, session.operator, sync, self._gathered)
        else:
            self._steps = PlainSteps(self._runner, sync, self._gathered)
        self._buffers = Buffers(session.made.model, world.collective, plan)
        self._history: dict[str, list[float]] = {}
        self._reporter = TrainingReporter(world, plan, job.initial_epoch + job.epochs)
        if not session.goes_on_with_schedules:
            self._reporter.warn(self._runner.schedules.told())
        if not self._before:
            self._reporter.warn(session.told)
        self._reporter.warn("\n".join(session.anew))

    def _sync(self) -> Sync | None:
        made = self._session.made
        modules = batch_norms(made.model)
        if not modules:
            return None
        wanted = bool(made.part("sync_batch_norm")) and self._world.size > 1
        return Sync(modules, self._world.collective, self._plan, wanted)

    def run(self) -> Trained:
        """Run the epochs."""
        job, runner = self._job, self._runner
        if self._world.timings is not None:
            self._world.timings.end("build")
        runner.tell("before_run")
        runner.count_on()
        count = len(runner.train_loader)
        begun = self._world.begun
        left = self._left = runner.agree_on_length(begun.steps if begun is not None else 0)
        self._reporter.epochs = job.initial_epoch + -(-left // count)
        batches = self._feed.take(self._first, left)
        epoch = job.initial_epoch
        try:
            while self._goes_on(epoch):
                runner.epoch = epoch
                done = begun.steps if begun is not None else 0
                most = self._most(count, done, left)
                if self._is_live:  # each epoch's own, because a pass ends when its loaders say so
                    batches = self._feed.take(self._first + self._taken, most - done)
                self._epoch(batches, most, begun)
                begun = None
                epoch += 1
                if runner.stop:
                    break
        finally:
            batches.close()  # type: ignore[attr-defined]
        runner.tell("after_run")
        if self._world.timings is not None:
            self._world.timings.end("epochs")
        return Trained(
            history=self._history,
            state=functools.partial(self._state, epoch, self._taken),
            outputs=self._session.outputs,
        )

    def _goes_on(self, epoch: int) -> bool:
        """Whether there is an epoch of this number, if no callback stops before."""
        if self._is_open and self._runner.last_step is None:
            done = epoch - self._job.initial_epoch + self._world.past_epochs
            return done < self._runner.num_epochs
        return self._left > self._taken

    def _most(self, count: int, done: int, left: int) -> int:
        """Return the most steps of the next epoch, of which some are done."""
        if not self._is_open:
            return min(count, done + left - self._taken)
        return ENDLESS if self._runner.last_step is None else done + left - self._taken

    def close(self) -> None:
        """End the processes of the user's loaders; nothing else has any."""
        for feed in (self._feed, self._validation):
            if isinstance(feed, LoaderFeed):
                feed.close()

    def _epoch(self, batches: Iterator[Batch], count: int, begun: Begun | None) -> None:
        runner, before = self._runner, begun.steps if begun is not None else 0
        start = self._first + self._taken - before
        self._seed(start + before)
        self._reporter.begin(runner.epoch, start, count)
        runner.whole.train()
        runner.epochs, runner.epoch_stats = runner.epoch, None
        runner.tell("before_train_epoch")
        if runner.has_callbacks:
            # One that is stopped alone would leave the epoch while others wait for its gradients.
            runner.agree_to_stop()
        if begun is not None:
            self._gathered.go_on(begun.sums)
        tick = functools.partial(self._tick, start, count)
        done = self._steps.epoch(batches, start, count, tick, begun)
        self._taken += done - before
        found = {**self._steps.results(), **self._metrics()}
        if not self._session.runner.options.reduce_results:
            found.update(_by_worker(self._steps.own, self._world))
        self._buffers.average()
        if self._validation is not None and _is_due(self._job.validation_freq, runner.epoch):
            began = time.perf_counter()
            values = validate(self._session, self._validation, self._job.validation_steps)
            found.update({f"val_{name}": value for name, value in values.items()})
            if self._world.timings is not None:
                self._world.timings.add("of which validation", time.perf_counter() - began)
        runner.logs = dict(found)
        rows = int(global_rows(self._plan, start, done).sum())
        runner.epochs = runner.epoch + 1
        runner.epoch_stats = _stats(runner.epochs, rows, found)
        runner.adjust_rate(EPOCH)
        runner.tell("after_train_epoch")
        runner.agree_to_stop()
        recorded = {**found, NUM_SAMPLES: rows}
        for name, value in recorded.items():
            self._history.setdefault(name, []).append(value)
        self._reporter.end(done, found)
        is_stopped, is_last = bool(runner.stop), not self._goes_on(runner.epoch + 1)
        is_ended = self._world.epoch_ended(recorded, is_stopped=is_stopped, is_last=is_last)
        runner.stop = is_ended or is_stopped
        if self._world.saver is not None:
            state = functools.partial(self._state, runner.epoch + 1, self._taken)
            self._world.saver.save(state, self._history, counted=runner.counted)

    def _seed(self, step: int) -> None:
        """Seed each epoch by itself, so that two fits of one epoch equal one fit of two."""
        mixed = np.random.SeedSequence([self._job.seed, self._runner.rank, step])
        seed_all(int(mixed.generate_state(1)[0]))

    def _metrics(self) -> dict[str, float]:
        """Return the metrics of the epoch's steps; called on all ranks."""
        found = self._gathered.results(may_hide=self._session.has_own_steps)
        if self._gathered.is_hidden and not self._told:
            self._told = True
            self._reporter.warn(self._session.hidden_by)
        return found

    def _tick(self, start: int, count: int, done: int) -> None:
        """After each update, report and save if due; after the first, check the state's size."""
        if not self._is_weighed:
            self._is_weighed = True
            nbytes = training_bytes(self._session.made.model, self._runner.optimizers)
            check_state_size(nbytes, self._job)
        self._reporter.step(done, self._loss_so_far)
        saver = self._world.saver
        # What a callback has ended is not saved: whoever went on from it would train on.
        if saver is None or not saver.within_epochs or done >= count or self._runner.stop:
            return
        if saver.is_due(done):
            self._save_within(saver, start, done)

    def _save_within(self, saver: Saver, start: int, done: int) -> None:
        """Save within an epoch; called on all ranks."""
        self._buffers.average()
        own = self._steps.sums()
        sums = State({**own.tensors, **(gathered := self._gathered.sums()).tensors}, gathered.meta)
        state = functools.partial(self._state, self._runner.epoch, start + done - self._first)
        saver.save_within(state, self._history, done, sums, counted=self._runner.counted)
        # A run that goes on from here draws the same random numbers.
        self._seed(start + done)

    def _loss_so_far(self) -> dict[str, float]:
        loss = self._steps.loss_so_far
        return {} if loss is None else {"loss": loss}

    def _state(self, epoch: int, taken: int) -> State:
        place = cursor(self._plan, self._first + taken)
        runner = self._runner
        meta = {
            "epoch": epoch,
            "step": self._before + taken,
            "cursor": place,
            MADE: runner.made_of,
        }
        return read_state(
            self._session.made.model,
            meta,
            optimizers=runner.optimizers,
            schedulers=runner.schedulers,
            operator=self._session.operator.state_dict(),
        )


def evaluate(session: TorchSession, job: EvaluateJob, data: Data) -> Evaluated:
    """Evaluate one pass, or its first steps; called on all ranks."""
    session.check_labels(data)
    feed = session.data
    found = validate(session, feed, job.steps)
    if isinstance(feed, LoaderFeed):
        found[NUM_SAMPLES] = feed.rows_of_all()
    else:
        steps = min(job.steps or feed.plan.steps_per_pass, feed.plan.steps_per_pass)
        found[NUM_SAMPLES] = int(global_rows(feed.plan, 0, steps).sum())
    return Evaluated(found, session.outputs)


def validate(
    session: TorchSession, feed: TensorFeed | LoaderFeed, steps: int | None
) -> dict[str, float]:
    """Return loss and metrics over all workers' rows; called on all ranks."""
    runner, metrics = session.runner, session.metrics
    gathered = Gathered(metrics, runner.world.collective, training=False)
    count = min(steps or feed.plan.steps_per_pass, feed.plan.steps_per_pass)
    collective = runner.world.collective
    runner.whole.eval()
    runner.val_loader = range(count)
    if isinstance(feed, LoaderFeed):
        feed.agrees = collective.size > 1 and isinstance(session.evaluation_loss, SumLoss)
        count = steps or ENDLESS
    runner.tell("before_val_epoch")
    # A rank without rows in a step skips it, because an evaluation has no collective operations.
    batches = (batch for batch in feed.take(0, count) if batch.rows)
    if session.has_own_validation:
        rows = [0]
        info = dict(runner.info)
        values = session.operator.validate(_watched(session, batches, rows), info, metrics) or {}
        named = {k.removeprefix("val_"): v for k, v in values.items() if k != "num_samples"}
        found = reduced(named, rows[0], collective)
    else:
        totals = Totals(runner.device)
        with torch.no_grad():
            for index, batch in enumerate(batches):
                _evaluate_step(session, batch, index, totals, gathered)
        found = {}
        if session.evaluation_loss is not None or runner.has_own_validation:
            found["loss"] = totals.mean(collective)
    found.update(gathered.results())
    runner.logs = {**runner.logs, **{f"val_{name}": value for name, value in found.items()}}
    runner.tell("after_val_epoch")
    runner.whole.train()
    runner.output = runner.loss = None
    return found


def _evaluate_step(
    session: TorchSession, batch: Batch, index: int, totals: Totals, gathered: Gathered
) -> None:
    runner, loss = session.runner, session.evaluation_loss
    given = runner.show(batch, index, "val")
    if runner.has_own_validation:
        _evaluate_by_callback(runner, totals, gathered.is_wanted)
    else:
        with runner.autocast():
            runner.output = runner.call_model(given.features)
            if loss is not None:
                value, divisor = loss(runner.output, given.target, given.weight)
                totals.add(value, divisor, loss.count(batch.rows, batch.of), batch.rows)
                runner.loss = value if divisor is None else value / divisor
    if gathered.is_wanted:
        gathered.add(runner.output, runner.target, batch.rows)
    if runner.watched["val"]:
        runner.tell("after_val_iter")


def _evaluate_by_callback(runner: TrainingRunner, totals: Totals, for_metrics: bool) -> None:
    """Run a validation step with the user's main callback, which may set no loss."""
    cast(MainCallback, runner.main_callback).on_val_forward(runner)
    rows = runner.batch.rows
    if runner.loss is not None:
        totals.add(runner.of_all(runner.loss), None, rows, rows)
    if for_metrics and runner.output is None:
        raise ModelError(
            f"{type(runner.main_callback).__name__} sets no runner.output in validation\n"
            "Let on_iter_forward, or on_val_forward, set it, and runner.loss"
        )


def _watched(session: TorchSession, batches: Iterator[Batch], rows: list[int]) -> Iterator[Any]:
    runner = session.runner
    for index, batch in enumerate(batches):
        yield runner.show(batch, index, "val")
        rows[0] += batch.rows
        if runner.watched["val"]:
            runner.tell("after_val_iter")


def _stats(epoch: int, rows: int, found: Mapping[str, float]) -> dict[str, float]:
    """Return an epoch's results under Orca's names."""
    named = {n if n.startswith("val_") else f"train_{n}": value for n, value in found.items()}
    return {"epoch": epoch, **named, NUM_SAMPLES: rows}


def _by_worker(own: tuple[float, float], world: World) -> dict[str, float]:
    """Return each worker's own loss and rows; called on all ranks."""
    pairs = np.zeros((world.size, 2))
    pairs[world.rank] = own
    world.collective.all_reduce(pairs)
    found = {}
    for rank, (value, rows) in enumerate(pairs.tolist()):
        found[f"worker_{rank}_loss"] = value / rows if rows else float("nan")
        found[f"worker_{rank}_num_samples"] = rows
    return found


def _is_due(frequency: int | tuple[int, ...], epoch: int) -> bool:
    number = epoch + 1
    return number % frequency == 0 if isinstance(frequency, int) else number in frequency
