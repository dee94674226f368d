"""Callbacks that are not called where none of them listens.

On JAX and torch Keras tells its callbacks of the end of each step in a thread of its own, which
turns the step's logs into numbers for nobody, and takes the interpreter from the step.
"""

from collections.abc import Sequence
from typing import Any

_STEP_ENDS = {
    "on_train_batch_end": ("on_batch_end", "on_train_batch_end"),
    "on_test_batch_end": ("on_test_batch_end",),
}


def quiet(made: Any, callbacks: Sequence[Any], **params: Any) -> Any:
    """Return callbacks as Keras's loop takes them.

    Parameters
    ----------
    made : Made
    callbacks : sequence
    **params
        What Keras tells callbacks about the loop: epochs and steps.
    """
    keras = made.keras.package()
    found = keras.callbacks.CallbackList(list(callbacks), model=made.model, verbose=0, **params)
    base = keras.callbacks.Callback
    for event, hooks in _STEP_ENDS.items():
        listens = any(
            getattr(type(one), hook) is not getattr(base, hook)
            for one in callbacks
            for hook in hooks
        )
        if not listens:
            setattr(found, event, lambda batch, logs=None: None)
    return found
