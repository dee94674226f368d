"""Parts of a state."""

from typing import Any

from zoo.orca.wire.packing import State


def without_optimizer(state: State) -> State:
    """Return a state without its optimizers and schedules."""
    tensors = {
        name: value
        for name, value in state.tensors.items()
        if not name.startswith(("optimizer/", "scheduler/"))
    }
    # Keras has them by place, PyTorch in lists.
    emptied = ("optimizers", "schedulers")
    none: dict[str, Any] = {
        name: type(state.meta[name])() for name in emptied if name in state.meta
    }
    return State(tensors, {**state.meta, **none})


def weights_alone(state: State) -> State:
    """Return a state as if nothing had been trained yet, with its weights."""
    found = without_optimizer(state)
    meta = {name: value for name, value in found.meta.items() if name not in ("cursor", "history")}
    return State(found.tensors, {**meta, "epoch": 0, "step": 0})
