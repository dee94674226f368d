"""Numbers and arrays of any framework as Python's and numpy's, without importing a framework."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import WorkerError
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import ALLOWED, to_state
from zoo.orca.wire.saved.values import Unsound

NAME = "own"
#: What a user's function gives; what it is, is looked at.
Given: TypeAlias = Any
#: The modules of arrays that are taken for numpy's; others' `__array__` may lose something.
_MODULES = ("torch", "jax", "jaxlib", "tensorflow")
#: What numpy has no number of: it is widened without loss.
_HALVES = ("bfloat16",)


def is_foreign(value: object) -> bool:
    """Whether a value is an array or tensor of another framework."""
    return type(value).__module__.partition(".")[0] in _MODULES and hasattr(value, "__array__")


def as_numpy(value: Given) -> NDArray[Any]:
    """Return a framework's array in this process's memory, as numpy's; perhaps a view."""
    if hasattr(value, "detach"):  # torch's
        value = value.detach().cpu()
        if str(value.dtype).rpartition(".")[2] in _HALVES:
            value = value.float()
        return np.asarray(value.resolve_conj().resolve_neg().numpy())
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name in _HALVES else array


def state_of(value: Given, what: str, step: int = 0) -> State:
    """Return a value of the user's as a state.

    Parameters
    ----------
    value : object
    what : str
        Whose value it is, for the error.
    step : int
        The number of the checkpoint that it is.

    Raises
    ------
    WorkerError
        If something in it cannot travel; names its type, and where it is.
    """
    try:
        return to_state(plain(value), NAME, step)
    except Unsound as error:
        where = f" at {error.path}" if error.path else ""
        raise WorkerError(
            f"{what}{where} {error.told}, and only {ALLOWED} travel\n"
            "Make one of those of it, such as an array of its numbers or a text that names it"
        ) from None


def plain(value: Given, level: int = 0) -> Any:
    """Return a nest whose arrays are numpy's; what is of no framework stays as it is."""
    if is_foreign(value):
        return as_numpy(value)
    if level > 100:  # it is refused by name where it is written
        return value
    if isinstance(value, Mapping):
        return {key: plain(one, level + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, level + 1) for one in value]
    if isinstance(value, tuple):
        return tuple(plain(one, level + 1) for one in value)
    return value
