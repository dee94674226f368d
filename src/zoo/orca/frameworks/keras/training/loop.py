"""One `fit` or `evaluate` of a Keras model on one of several workers: joins the parts."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoo.orca.frameworks.common.cursor import begun_with, first_step
from zoo.orca.frameworks.common.progress import TrainingReporter
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.loop_ends import beginnings_of, ends_of, without
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.state import (
    expected_bytes,
    share_state,
    write_state,
)
from zoo.orca.frameworks.keras.saving.tables import check_workers
from zoo.orca.frameworks.keras.training import executions as keras_executions
from zoo.orca.frameworks.keras.training.callbacks import (
    Frame,
    Hooks,
    first_callback,
    hooks_of,
    last_callback,
    numbers,
    user_callbacks,
)
from zoo.orca.frameworks.keras.training.evaluation_rows import with_large_batches
from zoo.orca.frameworks.keras.training.metrics import Logs, Statistics
from zoo.orca.frameworks.keras.training.position import LoopPosition
from zoo.orca.frameworks.keras.training.progress import FitProgress
from zoo.orca.frameworks.keras.training.randomness import seed_epoch, seed_fit
from zoo.orca.frameworks.keras.training.row_axis import keep_row_axis
from zoo.orca.frameworks.keras.training.sources import BatchSource, source_of
from zoo.orca.frameworks.keras.training.steps import Step, distribute
from zoo.orca.frameworks.keras.training.within import Within
from zoo.orca.frameworks.keras.types import KerasCallback
from zoo.orca.wire.job import EvaluateJob, TrainJob
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import State, unpack
from zoo.orca.wire.plans.live import ENDLESS, LivePlan
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.plugin import Begun, Data, Evaluated, Trained, World, check_state_size


class KerasSession:
    """A built model with a job's state, ready for a loop; made on all ranks.

    Attributes
    ----------
    made : KerasModel
    world : World
    data : RowsSource or LoaderSource
    outputs : tuple of OutputSpec
    """

    def __init__(
        self,
        made: KerasModel,
        data: Data,
        job: TrainJob | EvaluateJob,
        world: World,
        validation: Data | None = None,
    ) -> None:
        self.made, self.world, self._seed = made, world, job.seed
        self._last = job.initial_epoch + job.epochs if isinstance(job, TrainJob) else 0
        self._class_weight = job.class_weight if isinstance(job, TrainJob) else None
        self.state = State.from_bytes(job.state) if job.state is not None else None
        self.data = source_of(made, data, world, self._class_weight, self.state)
        self.feed = self.data.feed
        self.feed.sample()  # refuses unsupported columns before the model sees them
        self.outputs: tuple[OutputSpec, ...] = self.data.outputs()
        keep_row_axis(made, self.outputs)
        # Not as many rows as outputs, because Keras 3 could mistake one for the other.
        sample = self.feed.sample(len(self.outputs) + 1)
        check_workers(made, world.collective)
        self.data.check(validation)
        if self.state is not None:
            write_state(made, self.state, optimizers=isinstance(job, TrainJob))
        else:
            share_state(made, world.collective)
        training = isinstance(job, TrainJob)
        if isinstance(job, TrainJob):
            check_state_size(expected_bytes(made), job)
        made.backend.ready(made, sample, training=training)
        self._step: Step | None = None
        if world.size > 1:
            self._step = distribute(
                made,
                world.gradients,
                weighted=self.data.is_weighted,
                batch=sample,
                outputs=len(self.outputs),
            )

    def clocks(self) -> tuple[list[KerasCallback], list[KerasCallback]]:
        """Return the clock's callbacks before and after all others, if timing is wanted."""
        if self.world.timings is None:
            return [], []
        step = self._step
        clock = self.made.backend.step_clock(
            self.world.timings, lambda: step.exchange_seconds if step else 0.0, self.feed
        )
        clock.watch(self.made.model)
        before, after = clock.callbacks(self.made.keras.package().callbacks.Callback)
        return [before], [after]

    @contextlib.contextmanager
    def explained(self, *others: BatchSource) -> Iterator[None]:
        """Pass on Orca's errors; turn the error of a broken row into one that names the row."""
        try:
            yield
        except Exception as error:
            problem = self._step.problem if self._step is not None else None
            for source in (self.data, *others):
                problem = problem or source.problem
            if problem is not None:
                raise problem from error
            for source in (self.data, *others):
                if (broken := source.broken(error)) is not None:
                    raise broken from error
            raise
        finally:
            for source in (self.data, *others):
                source.close()

    def frame(
        self, loop: LoopPosition, plans: Mapping[str, Plan], callbacks: Sequence[KerasCallback]
    ) -> Frame:
        """Return what callbacks share; afterwards the logs of epochs are those of all workers.

        Parameters
        ----------
        loop : LoopPosition
        plans : dict of str to Plan
            The plans of "train" and "test".
        callbacks : sequence
            All the user's callbacks, including those of other ranks.
        """
        made, world = self.made, self.world
        base = made.keras.package().callbacks.Callback
        hooks = _hooks(made, callbacks)
        idle = {
            phase: not made.backend.UNDOES_EMPTY_STEPS and plan.someone_idles
            for phase, plan in plans.items()
        }
        saves = world.saver is not None and world.saver.within_epochs
        watches = "train" in plans and (saves or world.begun is not None)
        pacing = []
        # A call of several steps does not stop where a loader ends.
        open_ends = any(
            isinstance(plan, LivePlan) and not plan.is_certain for plan in plans.values()
        )
        if any(idle.values()) or watches or open_ends:
            made.keras.limit_steps_per_execution(made.model)
        elif not hooks.train and not hooks.test:
            steps = made.keras.steps_variable(made.model, begin=keras_executions.BEGIN)
            pacing = [keras_executions.pace(base, steps)] if steps is not None else []
        loop.watched = {
            "train": idle.get("train", False) or hooks.train or watches,
            "test": idle.get("test", False) or (hooks.test and world.size > 1),
        }
        original = getattr(made.model, made.keras.RESULTS)
        logs = Logs(made, world.collective, original)
        statistics = self._statistics(plans.get("train"))
        if world.size > 1 or world.begun is not None:
            self._make_logs_global(loop, statistics, logs, original)

        def of_step(step_logs: Structure, share: float) -> dict[str, float]:
            return numbers(logs.of_step(step_logs, share))

        within = self._within(loop, logs, statistics) if watches else None
        reporter = TrainingReporter(world, plans.get("train") or plans["test"])
        return Frame(
            made=made,
            world=world,
            loop=loop,
            hooks=hooks,
            reporter=reporter,
            step_logs=of_step,
            pacing=pacing,
            seed=self._seed,
            last=self._last,
            users=callbacks,
            within=within,
        )

    def _statistics(self, plan: Plan | None) -> Statistics | None:
        """Return what keeps statistics equal on all ranks, if training changes them."""
        world = self.world
        if plan is None or world.size == 1:
            return None
        return Statistics(self.made, world.collective, plan)

    def _within(self, loop: LoopPosition, logs: Logs, statistics: Statistics | None) -> Within:
        made, world = self.made, self.world

        def average() -> None:
            if statistics is not None:
                made.keras.sync(made.model)
                statistics.average()

        def seed(step: int) -> None:
            seed_epoch(made, self._seed, world, step)

        return Within(world, loop, logs, average, seed)

    def _make_logs_global(
        self,
        loop: LoopPosition,
        statistics: Statistics | None,
        logs: Logs,
        original: Callable[[Any], Any],
    ) -> None:
        def results(step_logs: Structure) -> Any:
            if not loop.phase:  # an evaluation that a user's callback began
                return original(step_logs)
            if loop.phase == "train" and statistics is not None:
                # Averaged now, not at the epoch's end: validation comes first and needs one model
                # for all.
                statistics.average()
            return logs.of_epoch(step_logs, loop.end())

        object.__setattr__(self.made.model, self.made.keras.RESULTS, results)


def train(
    made: KerasModel, job: TrainJob, data: Data, validation: Data | None, world: World
) -> Trained:
    """Run `Model.fit`; called on all ranks."""
    users = list(unpack(job.callbacks)) if job.callbacks is not None else []
    session = KerasSession(made, data, job, world, validation)
    plan = session.data.plan
    session.world = world = begun_with(world, session.state, plan)
    plans, others = {"train": plan}, list[BatchSource]()
    first = first_step(session.state, plan)
    loop = LoopPosition(train=session.data.part(job.steps_per_epoch), test=None, first=first)
    session.data.go_over_passes(job.steps_per_epoch)
    seen = None
    if validation is not None:
        if job.validation_steps is None and not _hooks(made, users).test:
            validation = with_large_batches(made, validation)
        source = session.data.another(validation)
        others.append(source)
        loop.test = source.part(job.validation_steps, within_pass=True)
        plans["test"] = source.plan
        seen = source.feed.steps(lambda: 0, loop.test.count)
    seed_fit(made, job.seed, world, first)
    history = made.keras.package().callbacks.History()
    progress = FitProgress(
        made=made,
        begun=session.state,
        job=job,
        plan=plan,
        loop=loop,
        callbacks=users,
        records=history,
    )
    frame = session.frame(loop, plans, users)
    if frame.within is not None:
        frame.within.save = progress.save_within
    save = (lambda: progress.save(world)) if world.saver is not None else None
    running = [*user_callbacks(made, users, world), history]
    listed = _listed(session, frame, running, save)
    fit = _Fit(made=made, source=session.data, loop=loop, callbacks=listed, validation=seen)
    with session.explained(*others):
        fit.run(job, world.begun)
    return Trained(history=progress.history(), state=progress.state, outputs=session.outputs)


def _listed(
    session: KerasSession,
    frame: Frame,
    running: Sequence[KerasCallback],
    save: Callable[[], None] | None,
) -> list[KerasCallback]:
    """Return all callbacks of a `fit`, in their order."""
    before, after = session.clocks()
    own = [first_callback(frame), *frame.pacing]
    return [*before, *own, *running, last_callback(frame, save), *after]


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Calls Keras's loop."""

    made: KerasModel
    source: BatchSource
    loop: LoopPosition
    callbacks: Sequence[KerasCallback]
    validation: Any

    def run(self, job: TrainJob, begun: Begun | None) -> None:
        """Run a job's epochs; of the first one, some steps may be done."""
        part, first = self.loop.part, job.initial_epoch
        last, frequency = first + job.epochs, job.validation_freq
        if begun is None:
            if first < last:
                self._call(first, last, part.count, frequency)
            return
        # Keras's loop begins with an epoch, so what is left of one is an epoch of its own. To
        # callbacks and optimizer, the two loops are one.
        left = part.count if part.count >= ENDLESS else part.count - begun.steps
        self.loop.begun = begun.steps
        self.loop.train = replace(part, count=left)
        ends = ends_of(self.made.model, self.callbacks) if first + 1 < last else []
        with without(ends):
            self._call(first, first + 1, left, frequency)
        self.loop.train = part
        if self.made.model.stop_training:
            for end in ends:
                end.call()
        elif first + 1 < last:
            with without(beginnings_of(self.callbacks)):
                self._call(first + 1, last, part.count, frequency)

    def _call(self, first: int, last: int, steps: int, frequency: int | tuple[int, ...]) -> None:
        made, loop = self.made, self.loop
        made.model.fit(
            self.source.feed.steps(lambda: loop.first + loop.taken, steps),
            epochs=last,
            initial_epoch=first,
            steps_per_epoch=self.source.steps_per_epoch(steps),
            verbose=0,
            # The data set has the plan's order, and Keras 3 warns if it should shuffle.
            shuffle=False,
            callbacks=made.backend.callbacks(made, self.callbacks, epochs=last, steps=steps),
            validation_data=self.validation,
            validation_freq=frequency,
        )


def evaluate(made: KerasModel, job: EvaluateJob, data: Data, world: World) -> Evaluated:
    """Run `Model.evaluate`; called on all ranks."""
    users = list(unpack(job.callbacks)) if job.callbacks is not None else []
    if job.steps is None and not _hooks(made, users).test:
        data = with_large_batches(made, data)
    session = KerasSession(made, data, job, world)
    part = session.data.part(job.steps, within_pass=True)
    loop = LoopPosition(train=None, test=part)
    running = user_callbacks(made, users, world)
    frame = session.frame(loop, {"test": part.plan}, users)
    listed = [first_callback(frame), *frame.pacing, *running]
    with session.explained():
        metrics = made.model.evaluate(
            session.feed.steps(lambda: 0, part.count),
            verbose=0,
            callbacks=made.backend.callbacks(made, listed, epochs=1, steps=part.count),
            return_dict=True,
        )
    return Evaluated(numbers(metrics), session.outputs)


def _hooks(made: KerasModel, callbacks: Sequence[KerasCallback]) -> Hooks:
    return hooks_of(callbacks, made.keras.package().callbacks.Callback)
