"""What callbacks count, as they tell it: who goes on with a training goes on counting."""

from collections.abc import Sequence

from zoo.orca.errors import StateError
from zoo.orca.frameworks.torch.saving.state import Tensors, decode, encode
from zoo.orca.frameworks.torch.training.callbacks import Callback
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved import coded
from zoo.orca.wire.saved.values import Unsound, as_object, listed, row, text

_CALLBACKS = "callbacks"
_told = listed(row(text, as_object))


def read_counts(callbacks: Sequence[Callback]) -> State:
    """Return what callbacks have counted so far.

    Raises
    ------
    StateError
        If a callback tells what no state holds.
    """
    tensors: Tensors = {}
    found = [
        [type(one).__name__, encode(dict(one.state_dict()), f"{_CALLBACKS}/{number}", tensors)]
        for number, one in enumerate(callbacks)
    ]
    return State(tensors, {_CALLBACKS: found})


def write_counts(callbacks: Sequence[Callback], state: State) -> None:
    """Let callbacks count on from what `read_counts` returned of others that were made alike.

    A callback of another class than the one in its place begins anew.

    Raises
    ------
    StateError
        If the state is damaged.
    """
    found = state.meta.get(_CALLBACKS)
    try:
        _told(found)
        coded.check(found, state.tensors, set())
    except Unsound as error:
        raise StateError(
            f"what callbacks have counted is damaged: {error}\nTrain without resume"
        ) from error
    for one, (name, values) in zip(callbacks, found or (), strict=False):
        if name == type(one).__name__ and values:
            one.load_state_dict(decode(values, state.tensors))
