"""Where training stands among the plan's steps, so that the next `fit` continues there."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import LivePlan
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.plugin import World


def cursor(plan: Plan, step: int) -> dict[str, Any]:
    """Return the position of a step, numbered over all passes, as JSON values."""
    if isinstance(plan, LivePlan):
        return plan.place(step)
    pass_index, rest = divmod(step, plan.steps_per_pass)
    return {"pass": pass_index, "step": rest, **_rows_of(plan)}


def first_step(state: State | None, plan: Plan) -> int:
    """Return the first step: the next one, or the start of a new pass if the rows changed."""
    place = state.meta.get("cursor") if state is not None else None
    if isinstance(plan, LivePlan):
        return _first_live(state, place or {}, plan)
    if place is None:
        return 0
    if _is_of(place, plan):
        return int(place["pass"]) * plan.steps_per_pass + int(place["step"])
    return (int(place["pass"]) + bool(place["step"])) * plan.steps_per_pass


def begun_with(world: World, state: State | None, plan: Plan) -> World:
    """Return the world; if the rows changed, its first epoch begins anew, with a new pass."""
    place = state.meta.get("cursor") if state is not None else None
    return world if place is not None and _is_of(place, plan) else replace(world, begun=None)


def _first_live(state: State | None, place: Mapping[str, Any], plan: LivePlan) -> int:
    """Begin a plan of steps that are not known beforehand; return the number of its first step."""
    first = int(state.meta.get("step", 0)) if state is not None else 0
    before, within = int(place.get("pass", 0)), int(place.get("step", 0))
    if _is_of(place, plan):
        plan.begin(first, before, within)
    else:
        plan.begin(first, before + bool(within), 0)
    return first


def _is_of(place: Mapping[str, Any], plan: Plan) -> bool:
    """Whether a position is among the steps of this plan."""
    return all(place.get(name) == value for name, value in _rows_of(plan).items())


def _rows_of(plan: Plan) -> dict[str, Any]:
    if isinstance(plan, LivePlan):
        return plan.identity
    return {
        "rows": plan.rows,
        "batch_size": plan.batch_size,
        "window": plan.window,
        "canonical": plan.is_canonical,
        # The steps of other workers have other rows, unless their order is canonical.
        "workers": None if plan.is_canonical else len(plan.counts),
    }
