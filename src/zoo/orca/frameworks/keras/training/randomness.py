"""Random numbers of training, different on each rank and in each epoch.

They are a function of seed, rank and step, so a resumed `fit` draws the same ones as an unbroken
one. The layers' own generators continue from their state, as the rest of the model does.
"""

import random

import numpy as np

from zoo.orca.frameworks.keras.models import KerasModel, value_of
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import World

_SEED_STRIDE = 0x9E3779B1


def seed_fit(made: KerasModel, seed: int, world: World, first: int) -> None:
    """Seed Python, numpy and the framework for a `fit` that begins with the step `first`.

    One worker's first `fit` has the same numbers as plain Keras.
    """
    if world.size > 1 or first:
        made.keras.make_random(_mixed(seed, world.rank, first))


def seed_epoch(made: KerasModel, seed: int, world: World, step: int) -> None:
    """Seed Keras's step-wise generators for the epoch that begins with `step`.

    Called on all ranks. A layer's generator may advance with a rank's rows, but a state has only
    one of each. So all ranks continue from rank 0's.
    """
    if world.size > 1 or step:
        mixed = _mixed(seed, world.rank, step)
        random.seed(mixed)
        np.random.seed(mixed)
        made.backend.reseed(mixed)
    _scatter(made, world)


def _mixed(seed: int, rank: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, rank, step]).generate_state(1)[0]) >> 1


def _scatter(made: KerasModel, world: World) -> None:
    """Give each rank's generators rank 0's state, with their own seed."""
    variables = made.keras.random_states(made.model)
    if world.size == 1 or not variables:
        return
    own = State({str(k): value_of(v) for k, v in enumerate(variables)}).to_bytes()
    received = world.collective.broadcast(own if world.rank == 0 else None)
    if world.rank == 0:
        return
    tensors = State.from_bytes(bytes(received)).tensors
    for variable, value in zip(variables, tensors.values(), strict=True):
        variable.assign(made.keras.scattered(value, world.rank * _SEED_STRIDE))
