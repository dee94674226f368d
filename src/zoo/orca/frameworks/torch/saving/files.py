"""PyTorch models in the caller's own process: `get_model`, and PyTorch's own files.

Unlike a job in a child, this code neither seeds nor moves anything in the process.
"""

import io
from typing import Any

import torch

from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.feed import BatchLayout
from zoo.orca.frameworks.torch.models import TorchModel
from zoo.orca.frameworks.torch.saving.checked import check_values, refuse_odd_archive
from zoo.orca.frameworks.torch.saving.resumed import MADE
from zoo.orca.frameworks.torch.saving.state import (
    Tensors,
    decode,
    encode,
    is_built,
    to_numpy,
    weights_of,
    write_weights,
)
from zoo.orca.wire.job import Job
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.schema import check_state, first_line
from zoo.orca.wire.saved.values import Unsound, as_object, listed


def restore(job: Job) -> Any:
    """Return the model of `job`, with the job's state if there is one; a list of several."""
    made = TorchModel(job, fresh_process=False)
    if job.state is not None:
        state = State.from_bytes(job.state)
        if not is_built(made.model, state):
            made.sample_output(made.placeholder(BatchLayout(job.columns)))
        write_weights(made.model, state)
    return made.models[0] if len(made.models) == 1 else made.models


def weights_bytes(state: State) -> bytes:
    """Return the model's state_dict as `torch.save` writes it."""
    buffer = io.BytesIO()
    torch.save(weights_of(state), buffer)
    return buffer.getvalue()


def checkpoint_bytes(state: State) -> bytes:
    """Return epoch, step and all state_dicts as `torch.save` writes them."""
    buffer = io.BytesIO()
    torch.save(checkpoint_of(state), buffer)
    return buffer.getvalue()


def checkpoint_of(state: State) -> dict[str, Any]:
    """Return epoch, step and the state_dicts of model, optimizers and schedules."""
    parts = {
        name: [decode(one, state.tensors) for one in state.meta.get(name) or []]
        for name in ("optimizers", "schedulers")
    }
    return {
        "epoch": state.meta.get("epoch", 0),
        "step": state.meta.get("step", 0),
        "models": [weights_of(state)],
        **parts,
        MADE: state.meta.get(MADE) or {},
    }


def read_checkpoint(data: bytes, path: str) -> State:
    """Return the state in a file of `torch.save`: a state_dict, or a dict as `checkpoint_of`'s.

    Nothing in the file is executed: PyTorch reads only tensors and plain values.

    Raises
    ------
    StateError
        If the file holds something else.
    """
    try:
        refuse_odd_archive(data)
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        check_values(found, len(data))
        state = _state(*_parts(found))
        check_state(state)
    except Exception as error:  # whatever PyTorch's reader, or its tensors, say of any bytes
        raise StateError(
            f"{path} does not hold a state_dict of PyTorch: {first_line(error)}\n"
            "Write one with torch.save(model.state_dict(), path)"
        ) from error
    return state


def _parts(found: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights, and what else a checkpoint holds."""
    weights, rest = found, {}
    if isinstance(found, dict) and "models" in found:
        models = found["models"]
        if not isinstance(models, (list, tuple)) or not models:
            raise Unsound("is no list of state_dicts", "models")
        for one in models:
            as_object(one)
        weights, rest = models[0], found
        if len(models) > 1:  # names as in a ModuleList
            weights = {f"{k}.{n}": v for k, one in enumerate(models) for n, v in one.items()}
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    ):
        raise Unsound("holds something else than tensors by name")
    return weights, rest


def _state(weights: dict[str, Any], rest: dict[str, Any]) -> State:
    tensors: Tensors = {f"weights/{name}": to_numpy(value) for name, value in weights.items()}
    meta: dict[str, Any] = {
        "framework": "torch",
        "epoch": rest.get("epoch", 0),
        "step": rest.get("step", 0),
        MADE: rest.get(MADE) or {},
        "dtypes": {n: "bfloat16" for n, v in weights.items() if v.dtype == torch.bfloat16},
    }
    for key, what in (("optimizers", "optimizer"), ("schedulers", "scheduler")):
        values = rest.get(key) or []
        listed(as_object)(values)
        meta[key] = [encode(one, f"{what}/{k}", tensors) for k, one in enumerate(values)]
    return State(tensors, meta)
