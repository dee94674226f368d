"""What the user's transform makes of a job's rows: agreed on by all ranks from a few first rows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import Job, StepwiseJob
from zoo.orca.wire.packing import unpack
from zoo.orca.wire.plans.multiplied import MultipliedPlan
from zoo.orca.worker.child.transform_processes import TransformProcesses
from zoo.orca.worker.plugin import Columns, Rows, World
from zoo.orca.worker.rows.transform import (
    Made,
    Transform,
    TransformedColumns,
    Transforms,
    factor_of,
    nothing,
    roles,
)

#: Rows that show what comes out.
_SAMPLE_ROWS = 2
#: Frameworks without tensors of strings, which has no better place to be refused.
_NUMBERS_ONLY = {"torch": "PyTorch"}


def transform_of(job: Job) -> Transform | None:
    """Return the job's transform, or None."""
    packed = job.model.transform
    return None if packed is None else Transform(unpack(packed), job.seed)


@contextmanager
def transforming(job: StepwiseJob) -> Iterator[Transforms | None]:
    """Yield the job's transform, or None; in the processes that the job asks for, if any."""
    packed = job.model.transform
    if packed is None or not job.transform_processes:
        yield transform_of(job)
        return
    processes = TransformProcesses(packed, job.seed, job.transform_processes)
    try:
        yield processes
    finally:
        processes.close()


def transformed(
    rows: Rows, job: Job, world: World, transform: Transforms | None, *, training: bool
) -> Rows:
    """Return the rows as they come out of the job's transform, if it has one; on all ranks.

    Raises
    ------
    DataError
        If the ranks' rows come out in different forms, or what comes out cannot be used.
    """
    if transform is None:
        return rows
    own: list[Any] = []
    sample: dict[str, NDArray[Any]] = {}
    raw = {name: rows.columns[name] for name in rows.spec.arrays}
    some = {name: values[:_SAMPLE_ROWS] for name, values in raw.items()}
    count = len(next(iter(some.values())))
    if count:
        # No step has this place.
        sample = transform(some, training=training, place=(0, world.rank, 0))
        factor = factor_of(len(next(iter(sample.values()))), count, training=training)
        own = [factor, _told(roles(sample, rows.spec), rows.spec)]
    told = [json.loads(bytes(one)) for one in world.collective.all_gather(json.dumps(own).encode())]
    found = [one for one in told if one]
    if any(one != found[0] for one in found):
        raise DataError(
            f"batch_transform returned different arrays on the workers: {found[0][1]['features']} "
            f"and {next(one for one in found if one != found[0])[1]['features']}\n"
            "Let it return arrays of the same names, dtypes and row shapes for any rows"
        )
    made = Made(spec=_read(found[0][1], rows.spec), factor=found[0][0])
    check_strings(job, made.spec)
    columns = TransformedColumns(
        raw,
        transform,
        made,
        made.checked(sample, count) if count else nothing(made.spec),
        training=training,
        rank=world.rank,
    )
    plan = MultipliedPlan(given=rows.plan, factor=made.factor) if made.factor > 1 else rows.plan
    return Rows(spec=made.spec, columns=columns, plan=plan)


def transformed_sample(
    sample: Columns | None, job: Job, spec: FeatureSpec
) -> tuple[Columns | None, FeatureSpec]:
    """Return the rows that build a model, and their columns, as they come out of the transform."""
    transform = transform_of(job)
    if transform is None or sample is None:
        return sample, spec
    some = {name: sample[name][:_SAMPLE_ROWS] for name in spec.arrays}
    rows = len(next(iter(some.values())))
    arrays = transform(some, training=False, place=(0, 0, 0))
    factor_of(len(next(iter(arrays.values()))), rows, training=False)
    made = Made(spec=roles(arrays, spec))
    check_strings(job, made.spec)
    return made.checked(arrays, rows), made.spec


def check_strings(job: Job, spec: FeatureSpec) -> None:
    """Refuse strings that come out for a framework that has no tensors of them.

    Raises
    ------
    DataError
        Names the array.
    """
    name = _NUMBERS_ONLY.get(job.model.framework)
    strings = [column.name for column in spec.columns if column.dtype == "string"]
    if name and strings:
        raise DataError(
            f"batch_transform returned {strings[0]!r} as text or bytes, and {name} has no tensors "
            "of such\nTurn it into numbers, or take it out: columns.pop"
        )


def _told(made: FeatureSpec, raw: FeatureSpec) -> dict[str, Any]:
    """Return what came out as JSON; weights have a role in this call alone."""
    weights = [made.weight] if made.weight else []
    weights += [column for _, column in made.output_weights]
    return {**made.to_json(), "weights": [column.to_json() for column in weights]}


def _read(told: dict[str, Any], raw: FeatureSpec) -> FeatureSpec:
    spec = FeatureSpec.from_json(told)
    weights = iter(FeatureSpec.from_json({**told, "features": told["weights"]}).features)
    weight = next(weights) if raw.weight else None
    return replace(
        spec,
        weight=weight,
        output_weights=tuple((output, next(weights)) for output, _ in raw.output_weights),
    )
