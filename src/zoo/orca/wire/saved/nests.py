"""A user's own values as a state: numbers, text, arrays and nests of them, without a pickle.

What a function of the user's returns goes from a worker to the driver this way, and so do its
checkpoints and what its ranks tell each other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved import coded
from zoo.orca.wire.saved.coded import PAIRS, TENSOR, TUPLE
from zoo.orca.wire.saved.values import MOST_LEVELS, Unsound, check_levels, text

#: What may travel, for messages.
ALLOWED = "numbers, text, None, arrays, and lists, tuples and dicts of them"
#: The key of a header under which the value lies.
_VALUE = "value"
#: More bits than any number that is not a mistake.
_MOST_BITS = 1024


def to_state(value: Any, framework: str, step: int = 0) -> State:
    """Return a copy of a value as a state.

    Numbers of numpy become Python's, named tuples tuples, and mappings dicts.

    Parameters
    ----------
    value : object
    framework : str
        The plug-in whose state it is.
    step : int
        The number of the checkpoint that it is.

    Raises
    ------
    Unsound
        If something in it is of another type; `path` leads to it.
    """
    tensors: dict[str, NDArray[Any]] = {}
    told = {_VALUE: _coded(value, tensors, 0)}
    check_levels(told)
    return State(tensors, {"framework": framework, "epoch": step, "step": 0, **told})


def from_state(state: State) -> Any:
    """Return the value of `to_state`; its arrays are the caller's own.

    Raises
    ------
    StateError
        If the state has another form.
    """
    try:
        if _VALUE not in state.meta:
            raise Unsound(f"has no {_VALUE}")
        used: set[str] = set()
        coded.check(state.meta[_VALUE], state.tensors, used)
    except Unsound as error:
        raise StateError(f"a value from a worker is damaged: {error}\nCall again") from error
    return _value(state.meta[_VALUE], state.tensors)


def _coded(value: Any, tensors: dict[str, NDArray[Any]], level: int) -> Any:
    if level > MOST_LEVELS:  # perhaps it holds itself
        raise Unsound("is nested too deeply")
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text(value)
        return str(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise Unsound(f"is a number of {value.bit_length()} bits")
        return int(value)
    if isinstance(value, np.ndarray):
        return _tensor(value, tensors)
    if isinstance(value, list):
        return _listed(value, tensors, level)
    if isinstance(value, tuple):
        return {TUPLE: _listed(value, tensors, level)}
    if isinstance(value, Mapping):
        return _pairs(value, tensors, level)
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    raise Unsound(f"is of type {module}{kind.__qualname__}")


def _tensor(value: NDArray[Any], tensors: dict[str, NDArray[Any]]) -> dict[str, str]:
    is_plain = type(value) in (np.ndarray, np.memmap)
    native = value.dtype.newbyteorder("=")
    if not is_plain or native.name not in coded.DTYPES:
        raise Unsound(f"is a {type(value).__name__} of dtype {value.dtype}")
    name = f"value/{len(tensors)}"
    # A copy, because a checkpoint is written while the training goes on.
    tensors[name] = np.array(value, native, order="C", copy=True, subok=False)
    return {TENSOR: name, "dtype": native.name}


def _listed(
    values: list[Any] | tuple[Any, ...], tensors: dict[str, NDArray[Any]], level: int
) -> list[Any]:
    return [_within(number, one, tensors, level) for number, one in enumerate(values)]


def _pairs(value: Mapping[Any, Any], tensors: dict[str, NDArray[Any]], level: int) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        for key in value:
            text(key)
        return {str(key): _within(key, one, tensors, level) for key, one in value.items()}
    return {PAIRS: [[_key(key), _within(key, one, tensors, level)] for key, one in value.items()]}


def _key(key: Any) -> Any:
    """Return a dict's key, coded; only what cannot change may be one."""
    if isinstance(key, tuple):
        return {TUPLE: [_key(one) for one in key]}
    if isinstance(key, np.generic) and key.dtype.kind in "biuf":
        key = key.item()
    if key is None or isinstance(key, (bool, int, float, str)):
        return _coded(key, {}, 0)
    raise Unsound(f"has a key of type {type(key).__qualname__}")


def _within(name: object, one: Any, tensors: dict[str, NDArray[Any]], level: int) -> Any:
    try:
        return _coded(one, tensors, level + 1)
    except Unsound as error:
        raise error.within(name) from None


def _value(told: Any, tensors: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(told, list):
        return [_value(one, tensors) for one in told]
    if not isinstance(told, dict):
        return told
    if TENSOR in told:
        return tensors[told[TENSOR]].copy()
    if TUPLE in told:
        return tuple(_value(told[TUPLE], tensors))
    if PAIRS in told:
        return {_value(key, tensors): _value(one, tensors) for key, one in told[PAIRS]}
    return {name: _value(one, tensors) for name, one in told.items()}
