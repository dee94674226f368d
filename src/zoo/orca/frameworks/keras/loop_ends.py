"""A `fit` of two loops of Keras's: what happens at the ends of a loop happens once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from zoo.orca.frameworks.keras.types import KerasCallback, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopCall:
    """A call that a loop of Keras's makes once.

    Parameters
    ----------
    owner : object
    method : str
    arguments : tuple
    """

    owner: Any
    method: str
    arguments: tuple[Any, ...] = ()

    def call(self) -> None:
        """Make the call."""
        getattr(self.owner, self.method)(*self.arguments)


def beginnings_of(callbacks: Sequence[KerasCallback]) -> list[LoopCall]:
    """Return what a loop does before its first epoch."""
    return [LoopCall(owner=one, method="on_train_begin") for one in callbacks]


def ends_of(model: Model, callbacks: Sequence[KerasCallback]) -> list[LoopCall]:
    """Return what a loop does after its last epoch.

    An optimizer that averages weights puts the averages into the model.
    """
    calls = [LoopCall(owner=one, method="on_train_end") for one in callbacks]
    if hasattr(model.optimizer, "finalize_variable_values"):
        finalize = LoopCall(
            owner=model.optimizer,
            method="finalize_variable_values",
            arguments=(model.trainable_variables,),
        )
        return [finalize, *calls]
    return calls


@contextmanager
def without(calls: Sequence[LoopCall]) -> Iterator[None]:
    """Leave calls out of what Keras's loop does in the block."""
    # A method of the object itself goes before that of its class; `LambdaCallback` has its own.
    # Set without the optimizer's notice, which looks at what it is given.
    own = [vars(one.owner).get(one.method) for one in calls]
    for one in calls:
        object.__setattr__(one.owner, one.method, _nothing)
    try:
        yield
    finally:
        for one, before in zip(calls, own, strict=True):
            object.__delattr__(one.owner, one.method)
            if before is not None:
                object.__setattr__(one.owner, one.method, before)


def _nothing(*args: object, **kwargs: object) -> None:
    """Do nothing."""
