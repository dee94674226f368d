"""Random numbers of loaders: other ones in each pass, the same ones in each run."""

import random
import sys

import numpy as np


def mixed(*numbers: int) -> int:
    """Return a seed made of several numbers."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0]) >> 1


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch, if it is there.

    Not TensorFlow: with another seed it compiles its functions anew.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def seed_creator(seed: int) -> None:
    """Seed what a creator may use, alike on all ranks: they deal out what they make alike."""
    seed_all(seed)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and hasattr(tensorflow, "random"):
        tensorflow.random.set_seed(seed)
