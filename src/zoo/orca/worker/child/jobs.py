"""What each kind of job does between the rows that are there and the answer that goes back."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from zoo.orca.errors import DataError, UnevenRowsError
from zoo.orca.wire.faults import NO_ROWS, agree
from zoo.orca.wire.features import FeatureSpec, fill_shapes
from zoo.orca.wire.job import BuildJob, EvaluateJob, Job, Placement, TrainJob
from zoo.orca.wire.levelling import levelled
from zoo.orca.wire.order import window_rows
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.plan import Plan
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.plugin import Evaluated, Framework, Rows, Trained, World
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.levelling import level

#: Rows of the fullest worker over those of the average one. All wait in each step for the one with
#: the largest share, so more than this costs a few epochs as much as to deal the rows anew.
_MOST_UNEVEN = 1.25


def run_job(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    """Run a job whose rows lie in files; called on all ranks. Return the values and the state."""
    return _RUN[type(job)](framework, job, start, world)


def _rows(job: Job, start: dict[str, Any], world: World) -> tuple[Rows, Rows | None]:
    """Agree with all ranks on counts and shapes and map this rank's files.

    Raises
    ------
    DataError
        The same on every rank, if any rank found rows that cannot be used.
    UnevenRowsError
        The same on every rank, if the job wants even rows and one rank has far too many.
    """
    told = world.collective.all_gather(json.dumps(start["spooled"]).encode())
    spooled = [json.loads(bytes(message)) for message in told]
    shapes, problem = agree(job.columns, spooled)
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    sets = []
    for kind, shuffle in (("train", isinstance(job, TrainJob)), ("validation", False)):
        counts = tuple(int(rank["rows"][kind]) for rank in spooled)
        if kind == "train" and not sum(counts):
            raise DataError(NO_ROWS)
        if job.placement is Placement.AS_THEY_LAY and max(counts) * len(
            counts
        ) > _MOST_UNEVEN * sum(counts):
            raise UnevenRowsError(f"the workers have {list(counts)} rows")
        if sum(counts):
            sets.append(_set(job, start["files"][kind], spec, counts, shuffle, world))
    if isinstance(job, TrainJob) and job.validate and len(sets) == 1:
        raise DataError("validation_data has no rows\nLeave it out, or give it some")
    return sets[0], sets[1] if len(sets) > 1 else None


def _set(
    job: Job, path: str, spec: FeatureSpec, counts: tuple[int, ...], shuffle: bool, world: World
) -> Rows:
    """Return one data set as this rank has it in the end."""
    if job.placement is Placement.AT_RANDOM:
        rows = open_rows(path, spec, partial(level, counts=counts, collective=world.collective))
        counts = levelled(counts)
    else:
        rows = open_rows(path, spec)
    size = cast(Any, job).batch_size
    return Rows(spec, rows, Plan(counts, size, job.seed, shuffle, _window(job, spec, counts)))


def _window(job: Job, spec: FeatureSpec, counts: tuple[int, ...]) -> int | None:
    """Return the rows of a window; None where all workers' rows fit into the budget."""
    rows = window_rows(spec, job.data_memory) if job.data_memory else None
    return rows if rows is not None and rows < max(counts) else None


def _train(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    rows, validation = _rows(job, start, world)
    resumable = Resumable(cast(TrainJob, job), world)
    trained: Trained = framework.train(resumable.job, rows, validation, resumable.world)
    blob, path = resumable.finish(trained.state)
    timings: list[Any] = []
    if world.timings is not None:
        world.timings.end("taking the state")
        told = world.collective.all_gather(json.dumps(world.timings.to_json()).encode())
        timings = [json.loads(bytes(message)) for message in told]
    done = {
        "timings": timings,
        "history": resumable.whole(trained.history),
        **_learnt(rows.spec, trained.outputs),
        "rows": rows.plan.rows,
        "state_at": path,
    }
    return done, blob


def _evaluate(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    rows, _ = _rows(job, start, world)
    evaluated: Evaluated = framework.evaluate(cast(EvaluateJob, job), rows, world)
    learnt = _learnt(rows.spec, evaluated.outputs)
    return {"metrics": evaluated.metrics, **learnt, "rows": rows.plan.rows}, b""


def _build(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    spooled = start["spooled"]
    shapes, problem = agree(job.columns, [spooled])
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    sample = open_rows(start["files"]["train"], spec) if spooled["rows"]["train"] else None
    built = framework.build(job, sample)
    return _learnt(spec, built.outputs), built.state.to_bytes()


def _learnt(spec: FeatureSpec, outputs: tuple[OutputSpec, ...]) -> dict[str, Any]:
    """Return what the driver keeps about the model, beside its state."""
    return {"columns": spec.to_json(), "outputs": [output.to_json() for output in outputs]}


_RUN: dict[type[Job], Callable[..., tuple[dict[str, Any], bytes]]] = {
    TrainJob: _train,
    EvaluateJob: _evaluate,
    BuildJob: _build,
}
