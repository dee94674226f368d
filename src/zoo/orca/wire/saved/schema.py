"""The form of a saved state's header, and how it must fit the state's tensors.

A file may be damaged, or made by anyone. So its reader calls `check_state` before anything else
looks at the state. What a state keeps is listed here alone: a name that is not listed is
refused, because training that goes on without it could go on wrongly.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.wire import features
from zoo.orca.wire.outputs import Scale
from zoo.orca.wire.packing import GRADIENT_BYTES, State
from zoo.orca.wire.padding import KEEPS, Padding, fits
from zoo.orca.wire.saved import coded
from zoo.orca.wire.saved.values import (
    Check,
    Unsound,
    as_object,
    check_levels,
    flag,
    listed,
    mapping,
    one_of,
    optional,
    real,
    record,
    row,
    text,
    whole,
)

_MOST_AXES = 32
_shape = listed(optional(whole()), _MOST_AXES)


def _any_of_a_column(value: Any) -> None:
    """Check that a value may be one of a column's."""
    if isinstance(value, str):
        text(value)
        if any(ord(character) > 255 for character in value):
            raise Unsound("has characters that stand for no byte")
    elif not isinstance(value, bool):
        real(value)


_column_fields = record(
    {
        "name": text,
        "dtype": one_of(features.DTYPES),
        "shape": _shape,
        "parts": listed(text),
    },
    {
        "binary": flag,
        "arrays": listed(text),
        "padding": optional(record({"value": _any_of_a_column, "keep": one_of(KEEPS)})),
        "mask_of": text,
    },
)


def _column(value: Any) -> None:
    """Check one column: its padding is a value of its dtype."""
    _column_fields(value)
    padding = value.get("padding")
    if padding and not fits(Padding(**padding).fill, value["dtype"]):
        raise Unsound(f"is no {value['dtype']}", "padding.value")


def _columns(value: Any) -> None:
    """Check the columns that the model has seen; each key belongs to one of them."""
    keys = optional(listed(text))
    of_columns = listed(_column)
    record(
        {"features": of_columns, "labels": of_columns, "feature_keys": keys, "label_keys": keys}
    )(value)
    for of, found in (("feature_keys", "features"), ("label_keys", "labels")):
        if value[of] is not None and len(value[of]) != len(value[found]):
            raise Unsound(f"names {len(value[of])} of {len(value[found])} columns", of)
    padded = {one["name"] for one in value["features"] if one.get("padding")}
    for number, one in enumerate((*value["features"], *value["labels"])):
        if one.get("mask_of") and one["mask_of"] not in padded:
            raise Unsound("tells the values of no padded column", f"column {number}")


# What an output's dtype may be is not limited: one that no column holds is told in `problem`.
_output = record(
    {"name": text, "dtype": text, "row_shape": _shape},
    {
        "named": flag,
        "keyed": flag,
        "problem": text,
        "scale": optional(one_of(tuple(Scale))),
    },
)

# The last three came later than the others: files of earlier releases have none of them.
_cursor = record(
    {"pass": whole(), "step": whole(), "rows": whole(1), "batch_size": whole(1)},
    {"window": optional(whole(1)), "canonical": flag, "workers": optional(whole(1))},
)

_live_cursor = record(
    {"pass": whole(), "step": whole(), "batch_size": whole(1)},
    {"created": flag, "workers": optional(whole(1))},
)


def _any_cursor(value: Any) -> None:
    """Check a position among the steps of rows, or of the loaders that creators make."""
    is_live = isinstance(value, Mapping) and "created" in value
    (_live_cursor if is_live else _cursor)(value)


#: The last batch of a stream that was trained.
_stream = record({"batch": whole(), "query": text})

#: What every framework's state has.
_REQUIRED: Mapping[str, Check] = {"framework": text, "epoch": whole(), "step": whole()}
#: What any framework's state may have; checkpoints have the history.
_COMMON: Mapping[str, Check] = {
    "cursor": _any_cursor,
    "columns": _columns,
    "inputs": _columns,
    "outputs": listed(_output),
    "model": text,
    "stream": _stream,
    "history": mapping(listed(real)),
    GRADIENT_BYTES: whole(),
}
_KERAS: Mapping[str, Check] = {
    "keras": one_of(("2", "3")),
    "optimizers": mapping(listed(whole())),
    "tables": listed(row(text, whole(), text)),
}
_TORCH: Mapping[str, Check] = {
    "dtypes": mapping(one_of(("bfloat16",))),
    "optimizers": listed(as_object),
    "schedulers": listed(as_object),
    "operator": as_object,
    "made": coded.made,
}


def check_state(state: State) -> None:
    """Check a state that came from a file, as a whole.

    Raises
    ------
    Unsound
        Says which value of the header is not as it must be.
    """
    check_levels(state.meta)
    as_object(state.meta)
    framework = state.meta.get("framework")
    own, fits = _OWN.get(framework, ({}, None)) if isinstance(framework, str) else ({}, None)
    if fits is None:
        # Another plug-in's state: what else it keeps is its own to check.
        own = {name: _anything for name in state.meta if name not in {**_REQUIRED, **_COMMON}}
    record(_REQUIRED, {**_COMMON, **own})(state.meta)
    cursor = state.meta.get("cursor")
    # No step of a pass is without rows.
    if cursor and cursor["step"] > cursor["rows"]:
        raise Unsound(f"is {cursor['step']} of a pass over {cursor['rows']} rows", "cursor.step")
    for name, tensor in state.tensors.items():
        text(name)
        if tensor.dtype.kind not in "biufc":
            raise Unsound(f"is a tensor of dtype {tensor.dtype}", name)
    if fits is not None:
        fits(state.tensors, state.meta)


def read_state(data: bytes, path: str) -> State:
    """Return the state in the bytes of a file that `State.to_bytes` made.

    Parameters
    ----------
    data : bytes
    path : str
        For errors.

    Raises
    ------
    StateError
        If it is not one, or is damaged; names the file.
    """
    try:
        state = State.from_bytes(data)
        check_state(state)
    except (StateError, Unsound) as error:
        raise damaged(path, error) from error
    return state


def damaged(path: str, error: Exception) -> StateError:
    """Return the error about a file in which something is not as it must be."""
    return StateError(f"{path} is damaged: {first_line(error)}\nRemove it, and train anew")


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its class.

    Readers quote what a damaged file holds. What cannot be printed is written as an escape, because
    it may end a line, or change a terminal.
    """
    line = str(error).partition("\n")[0] or type(error).__name__
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in line)


def _anything(value: Any) -> None:
    """Check nothing."""


def _fits_keras(tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Check that each tensor has a place in a Keras model, and the optimizers' variables too."""
    for name in tensors:
        kind, slash, rest = name.partition("/")
        if kind not in ("weights", "random", "optimizer") or not slash or not rest:
            raise Unsound(f"has the tensor {name[:50]!r}, which nothing reads")
    for place, trained in meta.get("optimizers", {}).items():
        if len(set(trained)) < len(trained):
            raise Unsound("names a variable twice", f"optimizers.{place}")


def _fits_torch(tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Check what is coded in the header, and that each tensor is used where it says."""
    used = {name for name in tensors if name.startswith("weights/")}
    for name in meta.get("dtypes", {}):
        tensor = tensors.get(f"weights/{name}")
        if tensor is None or tensor.dtype != np.float32:
            raise Unsound("says the dtype of no tensor", f"dtypes.{name[:50]}")
    for key in ("optimizers", "schedulers"):
        for number, one in enumerate(meta.get(key, ())):
            try:
                coded.check(one, tensors, used)
                if key == "optimizers":
                    coded.optimizer(one)
            except Unsound as error:
                raise error.within(number).within(key) from None
    try:
        coded.check(meta.get("operator", {}), tensors, used)
    except Unsound as error:
        raise error.within("operator") from None
    unused = next((name for name in tensors if name not in used), None)
    if unused is not None:
        raise Unsound(f"has the tensor {unused[:50]!r}, which nothing reads")
    made = (meta.get("made") or {}).get("optimizers")
    if made and meta.get("optimizers") and len(made) != len(meta["optimizers"]):
        raise Unsound(f"describes {len(made)} of {len(meta['optimizers'])}", "made.optimizers")


_Fits = Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], None]
#: By framework: what else its states may have, and how it fits the tensors.
_OWN: Mapping[str, tuple[Mapping[str, Check], _Fits | None]] = {
    "tf2": (_KERAS, _fits_keras),
    "keras": (_KERAS, _fits_keras),
    "torch": (_TORCH, _fits_torch),
}
