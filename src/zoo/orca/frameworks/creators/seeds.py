"""Random numbers of jobs and loaders: other ones in each pass, the same ones in each run."""

import random
import sys
from operator import attrgetter

import numpy as np

from zoo.orca.frameworks.settings.at_import import when_imported


def mixed(*numbers: int) -> int:
    """Return a seed made of several numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0]) >> 1


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch; torch, which a job may import later, at its import.

    Not TensorFlow: with another seed it compiles its functions anew.
    """
    random.seed(seed)
    np.random.seed(seed)
    _seed("torch", seed)


def seed_tensorflow(seed: int) -> None:
    """Seed TensorFlow, now or at its import: a job on another framework may use `tf.data`."""
    _seed("tensorflow", seed)


def seed_creator(seed: int) -> None:
    """Seed what a creator may use, alike on all ranks: they deal out what they make alike."""
    seed_all(seed)
    seed_tensorflow(seed)


#: Where each framework has its function that seeds.
_SEEDING = {"tensorflow": attrgetter("random.set_seed"), "torch": attrgetter("manual_seed")}
#: The seed that was asked for last, as a framework's own generators have it once it is imported.
_asked: dict[str, int] = {}


def _seed(name: str, seed: int) -> None:
    _asked[name] = seed
    when_imported(name, _seed_as_asked)


def _seed_as_asked(name: str) -> None:
    try:
        put = _SEEDING[name](sys.modules[name])
    except AttributeError:  # an empty directory of this name, or a thread still imports it
        return
    put(_asked[name])
