"""The pieces of a JAX step: how they treat the memory of the state."""

import numpy as np
import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)


def places(collective):
    """Where the arrays of Adam's state are in memory, before a step and after it."""
    import jax
    import jax.numpy as jnp

    from zoo.orca.frameworks.keras.backends.jax_cut import CutStep, exchange_here
    from zoo.orca.frameworks.keras.backends.jax_exchange import Exchange

    exchange, tables = Exchange(collective, lambda call: call), 3

    def step(state, data):
        weights, means, squares = state
        gradients = jax.grad(lambda w: sum((x[data["ids"]] ** 2).sum() for x in w))(weights)
        summed = exchange_here(gradients, data["rows"], data["of"], exchange)
        # Arrays are read in another order than they are made in.
        after = []
        for k in reversed(range(tables)):
            more = jnp.square(summed[k]) - squares[k]
            m = means[k] + (summed[k] - means[k]) * 0.1
            v = squares[k] + more * 0.001
            after.insert(0, (weights[k] - m / (jnp.sqrt(v) + 1e-7), m, v))
        return {}, tuple(list(part) for part in zip(*after, strict=True))

    rng = np.random.default_rng(0)
    drawn = rng.uniform(1, 2, (3, tables, 300, 16)).astype(np.float32)
    state = tuple([jnp.array(table) for table in part] for part in drawn)
    data = {"ids": jnp.arange(50), "rows": jnp.int32(1), "of": jnp.int32(collective.size)}
    before = [array.unsafe_buffer_pointer() for part in state for array in part]
    _, after = CutStep(step)(state, data)
    return before, [array.unsafe_buffer_pointer() for part in after for array in part]


def test_a_new_array_gets_the_memory_of_its_own_old_one(ranks: Ranks):
    # In the memory of another one's old array, XLA would have to copy both in every step.
    for before, after in ranks.run([places] * 2):
        assert after == before
