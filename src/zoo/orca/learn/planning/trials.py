"""Trains the same few steps on several numbers of workers, and compares what comes of them."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo.orca.driver.reports.epochs import Epochs
from zoo.orca.driver.request import Request
from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.arguments import positive
from zoo.orca.learn.planning.facts import built, rehearsed
from zoo.orca.learn.planning.verification import Trial, Verification
from zoo.orca.learn.requests import Requests
from zoo.orca.wire.job import Placement, TrainJob
from zoo.orca.wire.messages.results import Outcome, Timings
from zoo.orca.wire.packing import State

#: Arguments of a `fit` that have no meaning for a trial.
_LEFT_OUT = (
    *("epochs", "initial_epoch", "max_steps", "stop", "name"),
    *("validation_data", "validation_steps", "validation_freq"),
    *("checkpoint_steps", "checkpoint_seconds", "checkpoint_trigger", "resume"),
)
_WEIGHTS = "weights/"


def verified(
    estimator: Any,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
    *,
    steps: int,
    workers: Sequence[int],
) -> Verification:
    """Return what `verify` has found; as `zoo.orca.learn.planning.planned.Planned.verify`."""
    positive("steps", steps, least=2)  # the first is not timed
    numbers = _numbers(workers)
    given = _arguments(estimator, arguments, named, steps)
    # All are checked before the first begins: a trial may take a while.
    asked = [_request(_with_workers(estimator, count), given) for count in numbers]
    stays = tuple(
        one.settings.workers for one in asked if one.job.placement is Placement.AS_THEY_LAY
    )
    start: State | None = estimator._state
    if start is None:
        start = built(_with_workers(estimator, numbers[0]), asked[0])._state
    if stays:
        given["shuffle"] = True
    outcomes = [_request(_with_workers(estimator, count, start), given).run() for count in numbers]
    states = [State.from_bytes(outcome.state) for outcome in outcomes]
    trials = tuple(
        _trial(count, outcome, state, states[0], asked[0])
        for count, outcome, state in zip(numbers, outcomes, states, strict=True)
    )
    return Verification(trials=trials, steps=steps, stays=stays)


def _numbers(workers: Any) -> list[int]:
    if isinstance(workers, (str, int)) or not isinstance(workers, Sequence) or not workers:
        raise InvalidInputError(
            f"workers lists the numbers of workers to compare, got {workers!r}\n"
            "Write workers=(1, 2)"
        )
    return [positive("workers", one) for one in workers]


def _arguments(
    estimator: Any, arguments: Sequence[Any], named: Mapping[str, Any], steps: int
) -> dict[str, Any]:
    """Return the arguments of a trial by name: those of the user's `fit`, for these steps."""
    signature = inspect.signature(estimator.fit)
    given = dict(signature.bind(*arguments, **named).arguments)
    for name, one in signature.parameters.items():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    for name in _LEFT_OUT:
        given.pop(name, None)
    return {**given, "steps_per_epoch": steps, "profile": True, "verbose": 0}


def _with_workers(estimator: Any, workers: int, state: State | None = None) -> Any:
    """Return a copy of an estimator on so many workers, which leaves nothing behind."""
    other = copy.copy(estimator)
    other._options = replace(
        estimator._options, num_workers=workers, model_dir=None, min_workers=None
    )
    other._requests = Requests(estimator._model, other._options)
    other._state = estimator._state if state is None else state
    return other


def _request(estimator: Any, given: Mapping[str, Any]) -> Request:
    current, _ = rehearsed(estimator, (), given)
    if current.refused:
        raise current.refused[0]
    # No epoch of a trial is one of the user's trainings, so nobody hears of it.
    asked: Request = replace(current.request, epochs=Epochs())
    return asked


def _trial(workers: int, outcome: Outcome, state: State, first: State, asked: Request) -> Trial:
    difference, relative, tensor = _apart(first, state)
    losses = outcome.history.get("loss")
    job = asked.job
    return Trial(
        workers=workers,
        loss=losses[-1] if losses else None,
        difference=difference,
        relative=relative,
        tensor=tensor,
        rate=_rate(outcome.timings, job.batch_size) if isinstance(job, TrainJob) else None,
        order="canonical" if outcome.is_canonical else "as placed",
    )


def _apart(first: State, other: State) -> tuple[float, float, str]:
    """Return how far the weights of two states are apart, also as a share, and of which tensor."""
    largest, relative, tensor = 0.0, 0.0, ""
    for name, value in first.tensors.items():
        if not name.startswith(_WEIGHTS) or not value.size:
            continue
        kind = np.result_type(value.dtype, np.float64)
        here, there = (np.asarray(one, kind) for one in (value, other.tensors[name]))
        apart = np.abs(here - there)
        # Weights that are no numbers are the same only if they are none in both.
        apart[np.isnan(here) & np.isnan(there)] = 0.0
        apart[np.isnan(apart)] = np.inf
        furthest = float(apart.max())
        if not furthest:
            continue
        size = float(np.nanmax(np.abs(here), initial=0.0)) or furthest
        share = furthest / size if np.isfinite(furthest) else np.inf
        largest = max(largest, furthest)
        if share > relative:
            relative, tensor = share, name.removeprefix(_WEIGHTS)
    return largest, relative, tensor


def _rate(timings: Sequence[Timings], batch_size: int) -> float | None:
    """Return rows a second over all workers, of the steps that were timed."""
    seconds = [sum(one.parts.values()) / one.steps for one in timings if one.steps]
    slowest = max(seconds, default=0.0)
    return batch_size / slowest if slowest > 0 else None
