"""Random bits of JAX stay the same, however they are computed."""

import numpy as np
import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)


def bits_and_loops():
    """Bits that a compiled function draws, as JAX draws them and unrolled, and its loops."""
    import jax

    from zoo.orca.frameworks.keras.backends.jax_bits import draw_unrolled

    def draw(seed):
        key = jax.random.key(seed)
        kept = jax.random.bernoulli(key, 0.8, (37, 11))
        return jax.random.bits(key, (1001,)), kept, jax.random.key_data(jax.random.split(key, 3))

    found = []
    for prepare in (lambda: None, draw_unrolled):
        prepare()
        jax.clear_caches()
        drawn = [np.asarray(one) for one in jax.jit(draw)(5)]
        found.append((drawn, jax.jit(draw).lower(5).as_text().count("while")))
    return found


def test_the_same_bits_without_a_loop(ranks: Ranks):
    (as_ever, loops), (unrolled, none) = ranks.alone(bits_and_loops)
    for one, two in zip(as_ever, unrolled, strict=True):
        np.testing.assert_array_equal(one, two)
    assert loops and not none
