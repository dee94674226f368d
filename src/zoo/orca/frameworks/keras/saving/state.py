"""A model's state as named tensors, and back."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import StateError
from zoo.orca.frameworks.keras.models import KerasModel, value_of
from zoo.orca.frameworks.keras.saving.tables import Table, check_state, refresh, tables
from zoo.orca.frameworks.keras.types import Variable
from zoo.orca.wire.packing import GRADIENT_BYTES, State, sent_bytes
from zoo.orca.worker.collective.protocol import Collective

_OPTIMIZERS = "optimizers"
_TABLES = "tables"
#: The prefix of tensors that are an optimizer's hyperparameters, which have no number.
_HYPER = "hyper:"


def read_state(
    made: KerasModel, meta: dict[str, Any], *, known: Sequence[Table] | None = None
) -> State:
    """Return weights, random states and all variables of built optimizers.

    Names contain each tensor's number, which makes them unique and keeps their order.

    Parameters
    ----------
    made : KerasModel
    meta : dict
        What else the state holds.
    known : sequence of Table, optional
        The layers' tables, which training does not change; by default they are read, word by word.
    """
    tensors = _named("weights", made.weights, made)
    tensors.update(_named("random", made.keras.random_states(made.model), made))
    built = {}
    for place, optimizer in made.optimizers().items():
        trained = made.keras.optimized(optimizer, made.trainable_variables)
        if trained is not None:
            variables = made.keras.optimizer_variables(optimizer)
            tensors.update(_named(_prefix(place), variables, made))
            for name, variable in made.keras.hyperparameters(optimizer).items():
                tensors[f"{_prefix(place)}/{_HYPER}{name}"] = _portable(value_of(variable))
            built[place] = trained
    fixed = {
        "framework": made.framework,
        "keras": made.keras.VERSION,
        _OPTIMIZERS: built,
        _TABLES: list(known) if known is not None else tables(made),
        GRADIENT_BYTES: sum(
            _elements(one) * sent_bytes(made.numpy_dtype(one)) for one in made.trainable_variables
        ),
    }
    return State(tensors, {**meta, **fixed})


def write_state(made: KerasModel, state: State, *, optimizers: bool) -> None:
    """Set a built model's values from a state.

    Parameters
    ----------
    made : KerasModel
    state : State
    optimizers : bool
        Whether to set the optimizers' values too, for training.

    Raises
    ------
    StateError
        If a tensor does not fit the model; names the first one. Also if a layer's vocabulary
        differs.
    """
    check_state(made, state.meta.get(_TABLES))
    random_states = made.keras.random_states(made.model)
    _assign(made, made.weights, _members(state, "weights"), "the model's weights")
    saved = _members(state, "random")
    # Weights-only states have none, nor have Keras 2 models outside the workers.
    if saved and random_states:
        _assign(made, random_states, saved, "the model's random generators")
    refresh(made)
    if not optimizers:
        return
    found = made.optimizers()
    for place, trained in state.meta.get(_OPTIMIZERS, {}).items():
        if place not in found:
            raise StateError(
                f"the state has an optimizer {place or 'of compile'!r}, and the model has none\n"
                "Compile the model as the one that was saved"
            )
        trainable = made.trainable_variables
        if max(trained, default=-1) >= len(trainable):
            raise StateError(
                "the state's optimizer trained more variables than the model has\n"
                "Load it into the model that it was saved from"
            )
        made.keras.build_optimizer(found[place], [trainable[number] for number in trained])
        variables = made.keras.optimizer_variables(found[place])
        _assign(made, variables, _members(state, _prefix(place)), "the optimizer's variables")
        for name, variable in made.keras.hyperparameters(found[place]).items():
            # A state from an earlier version has none, nor has one whose rate was a schedule.
            value = state.tensors.get(f"{_prefix(place)}/{_HYPER}{name}")
            if value is not None and value.shape == tuple(variable.shape):
                variable.assign(value)


def share_state(made: KerasModel, collective: Collective) -> None:
    """Give every rank the state of rank 0; called on all ranks."""
    if collective.size == 1:
        return
    own = read_state(made, {}).to_bytes() if collective.rank == 0 else None
    received = collective.broadcast(own)
    if collective.rank != 0:
        write_state(made, State.from_bytes(bytes(received)), optimizers=True)


def expected_bytes(made: KerasModel) -> int:
    """Return the size of the state after training, with all slots of the compiled optimizer."""
    optimizer, trainable = made.model.optimizer, made.trainable_variables
    # A step of the user's own may need none.
    if optimizer is not None and trainable and made.keras.optimized(optimizer, trainable) is None:
        # Done now, not in the first update, so that an error for the size comes early.
        made.keras.build_optimizer(optimizer, trainable)
    variables = [*made.weights, *made.keras.random_states(made.model)]
    for one in made.optimizers().values():
        variables += made.keras.optimizer_variables(one)
    return sum(_elements(one) * made.numpy_dtype(one).itemsize for one in variables)


def _elements(variable: Variable) -> int:
    """Return a variable's count of numbers; for an unknown length, the current count."""
    shape = tuple(variable.shape)
    return value_of(variable).size if None in shape else prod(shape)


def _prefix(place: str) -> str:
    return f"optimizer/{place}" if place else "optimizer"


def _named(prefix: str, variables: Iterable[Variable], made: KerasModel) -> dict[str, NDArray[Any]]:
    return {
        f"{prefix}/{number}:{made.keras.name_of(variable)}": _portable(value_of(variable))
        for number, variable in enumerate(variables)
    }


def _portable(value: NDArray[Any]) -> NDArray[Any]:
    """Return bfloat16 and similar types, which plain numpy lacks, as float32."""
    return value if value.dtype.isbuiltin == 1 else value.astype(np.float32)


def _members(state: State, prefix: str) -> list[tuple[str, NDArray[Any]]]:
    """Return the tensors with exactly this prefix, in order."""
    start = f"{prefix}/"
    return [
        (name, value)
        for name, value in state.tensors.items()
        if name.startswith(start) and name[len(start) :].partition(":")[0].isdigit()
    ]


def _assign(
    made: KerasModel,
    variables: Sequence[Variable],
    saved: list[tuple[str, NDArray[Any]]],
    what: str,
) -> None:
    for variable, (name, value) in zip(variables, saved, strict=False):
        expected = tuple(variable.shape)
        # A variable of unknown length takes any.
        if len(expected) != value.ndim or any(
            length not in (None, found) for length, found in zip(expected, value.shape, strict=True)
        ):
            raise StateError(
                f"{what} do not fit the state: {name} has shape {value.shape}, and "
                f"{made.keras.name_of(variable)} has {expected}\n"
                "Load it into the model that it was saved from"
            )
    if len(variables) != len(saved):
        names = [name for name, _ in saved[len(variables) :]]
        names += [made.keras.name_of(variable) for variable in variables[len(saved) :]]
        raise StateError(
            f"{what} do not fit the state: it has {len(saved)} tensors, the model "
            f"{len(variables)}; the first without a partner is {names[0]}\n"
            "Load it into the model that it was saved from"
        )
    for variable, (_, value) in zip(variables, saved, strict=True):
        variable.assign(value.astype(made.numpy_dtype(variable), copy=False))
