"""What each kind of job does between its data and its answer.

There are two steps: agree with all ranks on the data, then run the job on them.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from zoo.orca.errors import DataError, RowsNeededError, UnevenRowsError
from zoo.orca.wire.faults import NO_ROW_TO_TRANSFORM, NO_ROWS, agree
from zoo.orca.wire.features import FeatureSpec, fill_shapes
from zoo.orca.wire.job import (
    BuildJob,
    CreatorSpec,
    EvaluateJob,
    Job,
    LoopJob,
    Placement,
    PredictCreatedJob,
    StepwiseJob,
    TrainJob,
)
from zoo.orca.wire.messages.pipe import Start
from zoo.orca.wire.messages.results import TIMINGS, Outcome, Timings, TimingsTold
from zoo.orca.wire.messages.rows import TO_PEERS, DataSet, Spooled
from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.levelling import levelled
from zoo.orca.wire.plans.order import window_rows
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.child.epochs import Ask
from zoo.orca.worker.child.gathering import predict_created
from zoo.orca.worker.child.loops import run_loop
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.child.transforming import transformed, transformed_sample, transforming
from zoo.orca.worker.plugin import AtEnd, Created, Data, Framework, OwnLoop, Rows, World
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.levelling import RankRows, level_as_they_lie
from zoo.orca.worker.rows.sequence import OwnRows
from zoo.orca.worker.rows.transform import Transforms

#: The fullest worker's rows divided by the average. All workers wait in each step for the one with
#: the largest share. Above this ratio, a few epochs cost as much as dealing the rows anew.
_MOST_UNEVEN = 1.25

#: Bytes of rows that a rank sends to the others at once.
_ROUND_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    """One worker's data sets, as agreed by all workers, and the columns that they are made of."""

    train: Data
    validation: Data | None = None
    columns: FeatureSpec
    is_transformed: bool = False

    @property
    def inputs(self) -> FeatureSpec | None:
        """What the job's transform made of the columns, if it has one."""
        if not self.is_transformed or not isinstance(self.train, Rows):
            return None
        # Weights belong to one call.
        return replace(self.train.spec, weight=None, output_weights=())


def run_job(
    framework: Framework | OwnLoop, job: Job, start: Start, world: World, ask: Ask
) -> Outcome:
    """Run a job whose rows lie in files; called on all ranks.

    Parameters
    ----------
    framework : Framework or OwnLoop
    job : Job
    start : Start
    world : World
    ask : Ask
        Used on rank 0 if the job says that it asks.
    """
    if isinstance(job, StepwiseJob):
        # A job that fails must not leave the processes of a loader to a warm child.
        with ExitStack() as stack, transforming(job) as transform:
            agreed = partial(_agreed, job, start, world, transform, stack.callback)
            return _run_steps(framework, job, agreed, world, ask, stack.callback)
    if isinstance(job, BuildJob):
        return _build(cast(Framework, framework), job, start)
    raise TypeError(f"no rows are needed by a {type(job).__name__}")


def _run_steps(
    framework: Framework | OwnLoop,
    job: StepwiseJob,
    agreed: Callable[[], _Sets],
    world: World,
    ask: Ask,
    at_end: AtEnd,
) -> Outcome:
    if isinstance(job, LoopJob):
        data = agreed().train if job.columns.columns else None
        # A loop of one's own makes what it wants besides.
        rows = data if isinstance(data, Rows) else None
        return run_loop(cast(OwnLoop, framework), job, rows, world)
    framework = cast(Framework, framework)
    match job:
        case TrainJob():
            return _train(framework, job, agreed(), world, ask if job.asks else None)
        case EvaluateJob():
            return _evaluate(framework, job, agreed(), world)
        case PredictCreatedJob():
            return predict_created(framework, job, world, at_end)
    raise TypeError(f"a {type(job).__name__} has no steps")


def _agreed(
    job: StepwiseJob, start: Start, world: World, transform: Transforms | None, at_end: AtEnd
) -> _Sets:
    """Agree with all ranks on the data; return this rank's spooled rows, or what makes others."""
    if job.creator is not None:
        return _created(job, job.creator, world, at_end)
    return _rows(job, start.spooled, world, transform)


def _created(job: StepwiseJob, creator: CreatorSpec, world: World, at_end: AtEnd) -> _Sets:
    def data(spec: CreatorSpec, argument: str, role: str) -> Created:
        return Created(
            creator=spec,
            config=job.model.config,
            argument=argument,
            batch_size=job.batch_size,
            seed=job.seed,
            role=role,
            report=world.report,
            at_end=at_end,
        )

    if not isinstance(job, TrainJob):
        return _Sets(train=data(creator, "data", "evaluate"), columns=job.columns)
    seen = job.validation_creator
    validation = data(seen, "validation_data", "evaluate") if seen is not None else None
    train = data(creator, "data", "train")
    return _Sets(train=train, validation=validation, columns=job.columns)


def _rows(job: StepwiseJob, own: Spooled, world: World, transform: Transforms | None) -> _Sets:
    """Agree with all ranks on counts and shapes and map this rank's files.

    Raises
    ------
    DataError
        If any rank found unusable rows. The error is the same on every rank.
    UnevenRowsError
        If the job wants even rows and one rank has far too many. The same on every rank.
    """
    told = world.collective.all_gather(own.to_bytes())
    ranks = [TO_PEERS.from_bytes(bytes(message)) for message in told]
    shapes, problem = agree(job.columns, ranks)
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    trains = isinstance(job, (TrainJob, LoopJob))
    counts = tuple(rank.train.rows for rank in ranks)
    if sum(counts) == 0:
        raise DataError(NO_ROWS)
    _check_even(job, counts)
    train = _set(job, own.train, spec, counts, world, shuffle=trains)
    counts = tuple(rank.validation.rows if rank.validation else 0 for rank in ranks)
    _check_even(job, counts)
    validation = None
    if own.validation is not None and any(counts):
        validation = _set(job, own.validation, spec, counts, world, shuffle=False)
    if isinstance(job, TrainJob) and job.validate and validation is None:
        raise DataError("validation_data has no rows\nLeave it out, or give it some")
    train = transformed(train, job, world, transform, training=trains)
    if validation is not None:
        validation = transformed(validation, job, world, transform, training=False)
    is_transformed = job.model.transform is not None
    return _Sets(train=train, validation=validation, columns=spec, is_transformed=is_transformed)


def _check_even(job: Job, counts: tuple[int, ...]) -> None:
    is_uneven = max(counts) * len(counts) > _MOST_UNEVEN * sum(counts)
    if job.placement is Placement.AS_THEY_LAY and is_uneven:
        raise UnevenRowsError(f"the workers have {list(counts)} rows")


def _set(
    job: StepwiseJob,
    own: DataSet,
    spec: FeatureSpec,
    counts: tuple[int, ...],
    world: World,
    *,
    shuffle: bool,
) -> Rows:
    """Return this rank's final form of one data set."""
    if job.placement is Placement.AT_RANDOM:
        plan = CanonicalPlan(
            rows=sum(counts), workers=world.size, batch_size=job.batch_size, seed=job.seed
        )
        if shuffle and _window(job, spec, plan.counts) is None:
            return _in_sequence(own, spec, counts, plan, world)
        ranks = RankRows(
            counts=counts, goals=levelled(counts), round=window_rows(spec, _ROUND_BYTES)
        )
        move = partial(level_as_they_lie, ranks=ranks, collective=world.collective)
        rows, counts = open_rows(own.file, spec, move), ranks.goals
    else:
        rows = open_rows(own.file, spec)
    placed = PlacedPlan(
        counts=counts,
        batch_size=job.batch_size,
        seed=job.seed,
        shuffle=shuffle,
        window=_window(job, spec, counts),
    )
    return Rows(spec=spec, columns=rows, plan=placed)


def _in_sequence(
    own: DataSet, spec: FeatureSpec, counts: tuple[int, ...], plan: CanonicalPlan, world: World
) -> Rows:
    """Return this rank's rows in the order that does not depend on the number of workers."""
    ranks = RankRows(counts=counts, goals=plan.counts, round=window_rows(spec, _ROUND_BYTES))
    part = OwnRows(own.file, ranks, world.collective)
    columns = open_rows(own.file, spec, part.level)
    return Rows(spec=spec, columns=columns, plan=replace(plan, places=part.order))


def _window(job: Job, spec: FeatureSpec, counts: tuple[int, ...]) -> int | None:
    """Return the rows of a window; None if all workers' rows fit into the budget."""
    rows = window_rows(spec, job.data_memory) if job.data_memory else None
    return rows if rows is not None and rows < max(counts) else None


def _train(
    framework: Framework, job: TrainJob, sets: _Sets, world: World, ask: Ask | None
) -> Outcome:
    resumable = Resumable(job, world, ask)
    trained = resumable.train(framework, sets.train, sets.validation)
    state, path = resumable.finish(trained)
    timings: tuple[Timings, ...] = ()
    if world.timings is not None:
        world.timings.end("taking the state")
        own = TimingsTold(timings=world.timings.timings())
        told = world.collective.all_gather(own.to_bytes())
        timings = tuple(TIMINGS.from_bytes(bytes(message)).timings for message in told)
    return Outcome(
        columns=sets.columns,
        inputs=sets.inputs,
        outputs=trained.outputs,
        history=resumable.whole(trained.history),
        epochs=resumable.epochs,
        timings=timings,
        is_canonical=isinstance(sets.train, Rows) and sets.train.plan.is_canonical,
        state_at=path,
        state=state,
    )


def _evaluate(framework: Framework, job: EvaluateJob, sets: _Sets, world: World) -> Outcome:
    evaluated = framework.evaluate(job, sets.train, world)
    return Outcome(
        columns=sets.columns,
        inputs=sets.inputs,
        outputs=evaluated.outputs,
        metrics=evaluated.metrics,
    )


def _build(framework: Framework, job: BuildJob, start: Start) -> Outcome:
    spooled = start.spooled
    shapes, problem = agree(job.columns, [spooled])
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    sample = open_rows(spooled.train.file, spec) if spooled.train.rows else None
    if job.model.transform is not None and sample is None:
        raise RowsNeededError(NO_ROW_TO_TRANSFORM)
    seen, inputs = transformed_sample(sample, job, spec)
    built = framework.build(replace(job, columns=inputs), seen)
    # The driver keeps the state that it sent, and asks only for the outputs.
    state = built.state.to_bytes() if job.state is None else b""
    made = None if job.model.transform is None else inputs
    return Outcome(columns=spec, inputs=made, outputs=built.outputs, state=state)
