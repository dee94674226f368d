"""PyTorch models in the caller's own process: `get_model`, and PyTorch's own files.

Unlike a job in a child, this code neither seeds nor moves anything in the process.
"""

import io
import pickle
from typing import Any

import torch

from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.feed import BatchLayout
from zoo.orca.frameworks.torch.models import TorchModel
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
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise StateError(f"{path} does not hold a state_dict of PyTorch: {error}") from error
    if isinstance(found, dict) and "models" in found:
        models = list(found["models"])
        weights = models[0]
        if len(models) > 1:  # names as in a ModuleList
            weights = {f"{k}.{n}": v for k, one in enumerate(models) for n, v in one.items()}
        rest = found
    else:
        weights, rest = found, {}
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise StateError(
            f"{path} does not hold a state_dict: tensors by name\n"
            "Write one with torch.save(model.state_dict(), path)"
        )
    return _state(weights, rest)


def _state(weights: dict[str, Any], rest: dict[str, Any]) -> State:
    tensors: Tensors = {f"weights/{name}": to_numpy(value) for name, value in weights.items()}
    meta: dict[str, Any] = {
        "framework": "torch",
        "epoch": int(rest.get("epoch", 0)),
        "step": int(rest.get("step", 0)),
        MADE: rest.get(MADE) or {},
        "dtypes": {n: "bfloat16" for n, v in weights.items() if v.dtype == torch.bfloat16},
    }
    for key, what in (("optimizers", "optimizer"), ("schedulers", "scheduler")):
        values = rest.get(key) or []
        meta[key] = [encode(one, f"{what}/{k}", tensors) for k, one in enumerate(values)]
    return State(tensors, meta)
