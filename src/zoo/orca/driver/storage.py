"""Saved states: one safetensors file with a JSON header. Reading it executes nothing."""

import json

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from zoo.orca.errors import StateError
from zoo.orca.files import read_bytes, write_bytes
from zoo.orca.wire.packing import State

_KEY = "zoo.orca"
_VERSION = 1


def save_state(state: State, path: str) -> None:
    """Write `state` to a local path or URL, completely or not at all."""
    # The file orders tensors by its own rules, so the header keeps their order.
    header = {"version": _VERSION, "names": list(state.tensors), "meta": state.meta}
    # safetensors writes raw memory, whose order differs for transposed tensors (torch has them).
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in state.tensors.items()}
    write_bytes(path, save(tensors, {_KEY: json.dumps(header)}))


def load_state(path: str) -> State:
    """Read a state that `save_state` wrote.

    Raises
    ------
    StateError
        If the file is missing, damaged, or not a saved state.
    """
    data = read_bytes(path)
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_KEY])
        tensors = load(data)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StateError(
            f"{path} is not a state that Estimator.save wrote, or it is damaged\n"
            "A framework's own file is read by its name: .keras, .h5 or .pt at the end"
        ) from error
    if header["version"] != _VERSION:
        raise StateError(
            f"{path} has format version {header['version']}, and this zoo-orca reads {_VERSION}\n"
            "Load it with the release of zoo-orca that saved it"
        )
    return State({name: tensors[name] for name in header["names"]}, header["meta"])
