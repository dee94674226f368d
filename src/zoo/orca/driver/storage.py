"""Saved states: one safetensors file with a JSON header. Reading it executes nothing."""

import json
from math import prod
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from zoo.orca.errors import StateError
from zoo.orca.files import read_bytes, write_bytes
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.schema import check_state
from zoo.orca.wire.saved.values import (
    LARGEST,
    Unsound,
    as_object,
    listed,
    one_of,
    parse,
    record,
    row,
    text,
    whole,
)

_KEY = "zoo.orca"
_VERSION = 1

#: The dtypes of safetensors that numpy has.
_DTYPES = (
    *("BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"),
    *("F16", "F32", "F64", "C64"),
)
_TENSOR = record(
    {
        "dtype": one_of(_DTYPES),
        "shape": listed(whole(), most=32),
        "data_offsets": row(whole(), whole()),
    }
)
_HEADER = record({"version": whole(_VERSION, _VERSION), "names": listed(text), "meta": as_object})


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
        state = _state_in(data)
        check_state(state)
    except (Unsound, SafetensorError) as error:
        raise StateError(
            f"{path} is not a state that Estimator.save wrote, or it is damaged: {error}\n"
            "A framework's own file is read by its name: .keras, .h5 or .pt at the end"
        ) from error
    except _OtherVersion as error:
        raise StateError(
            f"{path} has format version {error}, and this zoo-orca reads {_VERSION}\n"
            "Load it with the release of zoo-orca that saved it"
        ) from error
    return state


class _OtherVersion(Exception):
    """A header of another version, whose form is not known here."""


def _state_in(data: bytes) -> State:
    """Return the state in a file's bytes, whose header is not checked yet."""
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise Unsound("has no header, or not all of it")
    outer = parse(data[8 : 8 + size])
    as_object(outer)
    for name, one in outer.items():
        if name == "__metadata__":
            record({_KEY: text})(one)
        else:
            _tensor(name, one)
    if "__metadata__" not in outer:
        raise Unsound(f"has no {_KEY} in its header")
    header = parse(outer["__metadata__"][_KEY])
    as_object(header)
    if isinstance(header.get("version"), int) and header["version"] != _VERSION:
        raise _OtherVersion(str(header["version"])[:20])
    _HEADER(header)
    # safetensors compares shapes and offsets with the bytes that are there before it takes any.
    tensors = load(data)
    names = header["names"]
    if len(set(names)) < len(names) or set(names) != set(tensors):
        raise Unsound("has other tensors than its header names")
    return State({name: tensors[name] for name in names}, header["meta"])


def _tensor(name: str, told: Any) -> None:
    """Check what a header says of one tensor."""
    try:
        text(name)
        _TENSOR(told)
        if prod(max(length, 1) for length in told["shape"]) > LARGEST:
            raise Unsound("has axes too long for any memory")
    except Unsound as error:
        raise error.within(name) from None
