"""Skips callbacks if none of them has the hook.

On JAX and torch, Keras tells its callbacks of the end of each step in a separate thread. This turns
the step's logs into unused numbers, and takes the interpreter from the step.
"""

from collections.abc import Sequence
from typing import Any, cast

from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.types import KerasCallback

_STEP_ENDS = {
    "on_train_batch_end": ("on_batch_end", "on_train_batch_end"),
    "on_test_batch_end": ("on_test_batch_end",),
}


def has_hook(callback: KerasCallback, base: type, names: Sequence[str]) -> bool:
    """Whether a callback has any of these methods, from its class or set on itself.

    `LambdaCallback` sets its hooks on the instance.
    """
    return any(
        getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
        for name in names
    )


def quiet(
    made: KerasModel, given: Sequence[KerasCallback], **params: int
) -> Sequence[KerasCallback]:
    """Return callbacks as Keras's loop takes them.

    Parameters
    ----------
    made : KerasModel
    given : sequence
    **params
        What Keras tells callbacks about the loop: epochs and steps.
    """
    keras = made.keras.package()
    found: Any = keras.callbacks.CallbackList(list(given), model=made.model, verbose=0, **params)
    base = keras.callbacks.Callback
    for event, hooks in _STEP_ENDS.items():
        if not any(has_hook(one, base, hooks) for one in given):
            setattr(found, event, lambda batch, logs=None: None)
    # A list type of Keras, which its loop takes as it is.
    return cast(Sequence[KerasCallback], found)
