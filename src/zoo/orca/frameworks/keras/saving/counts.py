"""What Keras's own callbacks count: an attempt that goes on with a training goes on counting.

Keras sets them back whenever its loop begins. So what they had counted is given back right after.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.frameworks.keras.types import KerasCallback
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import from_state, to_state
from zoo.orca.wire.saved.values import Unsound, listed, optional, real, record, row, text

_WEIGHTS = "best_weights"
#: By Keras's name of the class: what it counts in attributes.
_COUNTED = {
    "EarlyStopping": ("wait", "stopped_epoch", "best", "best_epoch", _WEIGHTS),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
    "ModelCheckpoint": (
        "best",
        "epochs_since_last_save",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
}


def _array(value: object) -> None:
    if not isinstance(value, np.ndarray):
        raise Unsound("is no array")


#: Checks what one callback has counted.
_VALUES = record(
    {},
    {
        key: optional(listed(_array) if key == _WEIGHTS else real)
        for keys in _COUNTED.values()
        for key in keys
    },
)


def read_counts(callbacks: Sequence[KerasCallback], framework: str) -> State:
    """Return what callbacks have counted so far."""
    found = []
    for one in callbacks:
        name = _kind(one)
        values = {key: getattr(one, key) for key in _COUNTED.get(name, ()) if hasattr(one, key)}
        found.append([name, {key: _plain(value) for key, value in values.items()}])
    return to_state(found, framework)


def write_counts(callbacks: Sequence[KerasCallback], state: State) -> None:
    """Let callbacks count on from what `read_counts` returned of others that were made alike.

    A callback of another class than the one in its place begins anew.

    Raises
    ------
    StateError
        If the state is damaged.
    """
    found = from_state(state)
    try:
        listed(row(text, _VALUES))(found)
    except Unsound as error:
        raise StateError(
            f"what callbacks have counted is damaged: {error}\nTrain without resume"
        ) from error
    for one, (name, values) in zip(callbacks, found, strict=False):
        if name != _kind(one):
            continue
        for key in _COUNTED.get(name, ()):
            if key in values and (key != _WEIGHTS or _fits(one, values[key])):
                setattr(one, key, values[key])


def _fits(callback: KerasCallback, weights: Sequence[Any] | None) -> bool:
    """Whether weights are the model's."""
    own = [tuple(one.shape) for one in callback.model.weights]
    return weights is None or own == [one.shape for one in weights]


def _kind(callback: KerasCallback) -> str:
    """Return the name of Keras's class that counts in a callback; empty if there is none."""
    for kind in type(callback).__mro__:
        if kind.__name__ in _COUNTED and kind.__module__.startswith(("keras.", "tf_keras.")):
            return kind.__name__
    return ""


def _plain(value: object) -> Any:
    """Return a count or weights as what a state may hold."""
    if isinstance(value, (list, tuple)):
        return [_portable(np.asarray(one)) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    # A number of numpy, or a tensor of one: torch's may be on a GPU.
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value).item()


def _portable(value: NDArray[Any]) -> NDArray[Any]:
    """Return bfloat16 and similar types, which plain numpy lacks, as float32."""
    return value if value.dtype.isbuiltin == 1 else value.astype(np.float32)
