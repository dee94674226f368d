"""Where training stands among the plan's steps, so that the next `fit` continues there."""

from typing import Any

from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.plan import Plan


def cursor(plan: Plan, step: int) -> dict[str, Any]:
    """Return the position of a step, numbered over all passes, as JSON values."""
    pass_index, rest = divmod(step, plan.steps_per_pass)
    return {"pass": pass_index, "step": rest, **_rows_of(plan)}


def first_step(state: State | None, plan: Plan) -> int:
    """Return the first step: the next one, or the start of a new pass if the rows changed."""
    place = state.meta.get("cursor") if state is not None else None
    if place is None:
        return 0
    if all(place.get(name) == value for name, value in _rows_of(plan).items()):
        return int(place["pass"]) * plan.steps_per_pass + int(place["step"])
    return (int(place["pass"]) + bool(place["step"])) * plan.steps_per_pass


def _rows_of(plan: Plan) -> dict[str, Any]:
    return {
        "rows": plan.rows,
        "batch_size": plan.batch_size,
        "window": plan.window,
        "canonical": plan.is_canonical,
    }
