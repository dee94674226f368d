"""Gathers a plan: rehearses `fit`, which checks all and runs nothing, and reads off its request."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoo.orca.driver.frame.partitions import known_partitions
from zoo.orca.driver.request import Request
from zoo.orca.driver.session.cluster import nodes, slots, threads_per_worker
from zoo.orca.driver.session.readiness import Readiness
from zoo.orca.learn.files.made import made_state
from zoo.orca.learn.files.recorded import check_place
from zoo.orca.learn.forms.creators import is_creator
from zoo.orca.learn.forms.entry import form_of
from zoo.orca.learn.forms.form import Form
from zoo.orca.learn.forms.wording import reword_for
from zoo.orca.learn.planning.plan import FitPlan, PlannedColumn
from zoo.orca.learn.planning.tables import several
from zoo.orca.refusals import Rehearsal, noted, rehearsal
from zoo.orca.wire.features import ColumnSpec, FeatureSpec, fill_shapes
from zoo.orca.wire.job import Placement, TrainJob
from zoo.orca.wire.packing import GRADIENT_BYTES, State
from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.order import row_bytes, window_rows


def rehearsed(
    estimator: Any, arguments: Sequence[Any], named: Mapping[str, Any]
) -> tuple[Rehearsal, Readiness | None]:
    """Rehearse a `fit`: every check that it makes before its stage starts, and nothing else."""
    with rehearsal() as current:
        estimator.fit(*arguments, **named)
    for error in current.refused:
        reword_for(error, type(estimator).fit, (estimator, *arguments), named)
    request, ready = current.request, None
    if request is not None:
        with rehearsal(current):
            noted()(check_place)(request.job, request)
            ready = request.check()
    return current, ready


def planned(
    estimator: Any,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
    *,
    count: bool,
    build: bool,
) -> FitPlan:
    """Return the plan of a `fit` with these arguments."""
    current, ready = rehearsed(estimator, arguments, named)
    refused = tuple(current.refused)
    told: dict[str, Any] = {"refused": refused, "stopped": _stopped(current)}
    state = model = estimator._state
    request = current.request
    if request is not None:
        if build and not refused and (state is None or GRADIENT_BYTES not in state.meta):
            estimator = built(estimator, request)
            model = estimator._state
        spec = _known_shapes(request.job.columns, estimator)
        if ready is not None:
            told |= _of_cluster(request, ready)
        told |= _of_rows(estimator, request, spec, arguments, named, count and not refused)
        told["columns"] = tuple(one for one in _columns(spec) if one.column not in current.unfit)
    return FitPlan(**told, **_of_model(state or model, model))


def built(estimator: Any, request: Request) -> Any:
    """Return a copy of an estimator with a model that is made, on one worker, for these columns."""
    made = copy.copy(estimator)
    made._state = None
    spec = request.job.columns
    if request.rows is None or not spec.features:
        made._state = made_state(made._requests)
    else:
        inputs = replace(spec, labels=(), label_keys=None, weight=None, output_weights=())
        made._build(request.rows, inputs)
    return made


def _stopped(current: Rehearsal) -> str:
    error = current.stopped
    return "" if error is None else f"{type(error).__name__}: {error}".partition("\n")[0]


def _of_cluster(request: Request, ready: Readiness) -> dict[str, Any]:
    spark, workers = request.frame.sparkSession, request.settings.workers
    return {
        "workers": workers,
        "hosts": nodes(spark),
        "slots": slots(spark, ready.profile),
        "threads": threads_per_worker(spark, workers),
    }


def _of_rows(
    estimator: Any,
    request: Request,
    spec: FeatureSpec,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
    count: bool,
) -> dict[str, Any]:
    job = request.job
    given = inspect.signature(type(estimator).fit).bind(estimator, *arguments, **named).arguments
    data = given.get("data")
    form = None if is_creator(data) else noted_form(data)
    told: dict[str, Any] = {"memory": job.data_memory}
    if not isinstance(job, TrainJob):
        return told
    told["steps"] = job.steps_per_epoch
    if job.creator is not None:
        why = "each worker makes its own part of every batch"
        told |= {"is_created": True, "memory": None}
        return {**told, "moves": False, "why": why, "order": "as placed"}
    rows = _rows(form, request, count)
    if count and request.validation is not None:
        told["validation_rows"] = request.validation.count()
    told |= {"rows": rows, "row_bytes": row_bytes(spec) if spec.columns else None}
    if rows is not None and job.steps_per_epoch is None:
        told["steps"] = -(-rows // job.batch_size)
    told |= _of_order(request, form, given.get("shuffle"))
    told |= _of_memory(request, job, spec, rows)
    if told.get("windows"):
        told["order"] = "as placed"
    return told


def noted_form(data: Any) -> Form | None:
    """Return the form of some data; None if it has none, which the rehearsal has noted."""
    with rehearsal():
        return form_of(data, "data")
    return None


def _rows(form: Form | None, request: Request, count: bool) -> int | None:
    if request.rows is None or form is None:
        return None
    if form.rows is not None:
        return form.rows
    return request.rows.count() if count else None


def _of_order(request: Request, form: Form | None, shuffle: bool | None) -> dict[str, Any]:
    workers = several(request.settings.workers, "worker")
    if request.job.placement is not Placement.AT_RANDOM:
        why = f"the DataFrame has one partition for each of {workers}, so its rows stay there"
        return {"moves": False, "why": why, "order": "as placed"}
    return {"moves": True, "why": _reason(request, form, shuffle), "order": "canonical"}


def _reason(request: Request, form: Form | None, shuffle: bool | None) -> str:
    """Return why the rows of a `fit` move to other workers."""
    workers = several(request.settings.workers, "worker")
    if form is not None and not form.is_placed:
        return "rows that come from outside of a DataFrame have no place yet"
    if shuffle:
        return "shuffle=True asks for it"
    if request.elastic is not None:
        return "with min_workers, the order of rows must not depend on the workers"
    if request.validation is not None:
        return "there are validation rows, which go to all workers"
    partitions = None
    if request.rows is not None and not request.rows.isStreaming:
        partitions = known_partitions(request.rows)
    if partitions is None:
        return "only running the DataFrame would tell its partitions"
    return f"the DataFrame has {several(partitions, 'partition')}, and there are {workers}"


def _of_memory(
    request: Request, job: TrainJob, spec: FeatureSpec, rows: int | None
) -> dict[str, Any]:
    """Return whether a worker holds its rows, by the rule that it goes by itself."""
    if not rows or not spec.columns or any(None in one.shape for one in spec.columns):
        return {}
    workers = request.settings.workers
    most = -(-rows // workers)
    if job.placement is Placement.AT_RANDOM:
        plan = CanonicalPlan(rows=rows, workers=workers, batch_size=job.batch_size, seed=job.seed)
        most = max(plan.counts)
    held = window_rows(spec, job.data_memory)
    return {"memory_needed": most * row_bytes(spec), "windows": held < most}


def _of_model(state: State | None, model: State | None) -> dict[str, Any]:
    if state is None or model is None:
        return {}
    return {
        "gradient_bytes": model.meta.get(GRADIENT_BYTES),
        "state_bytes": state.nbytes,
        "is_trained": bool(state.meta.get("step")),
    }


def _known_shapes(spec: FeatureSpec, estimator: Any) -> FeatureSpec:
    """Return the columns with the lengths of arrays that the model has seen."""
    seen = estimator._seen_columns
    if seen is None:
        return spec
    columns = (*seen.features, *seen.labels)
    return fill_shapes(spec, {one.name: one.shape for one in columns if one.padding is None})


def _columns(spec: FeatureSpec) -> list[PlannedColumn]:
    found = _of_role("input", spec.features, spec.feature_keys)
    found += _of_role("label", spec.labels, spec.label_keys)
    weights = [("all outputs", spec.weight)] if spec.weight is not None else []
    for name, one in (*weights, *spec.output_weights):
        found.append(_column("weight", name, one))
    return found


def _of_role(
    role: str, columns: Sequence[ColumnSpec], keys: Sequence[str] | None
) -> list[PlannedColumn]:
    names = keys or [f"{role} {place}" for place in range(len(columns))]
    return [_column(role, name, one) for name, one in zip(names, columns, strict=True)]


def _column(role: str, name: str, one: ColumnSpec) -> PlannedColumn:
    column = f"{one.mask_of} (its mask)" if one.mask_of else one.name
    return PlannedColumn(role=role, name=name, column=column, dtype=one.dtype, shape=one.shape)
