"""Operations on single elements of narrow tables are computed on vectors, with the same results."""

import numpy as np
import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)


def both_ways():
    """What a step returns as it is and flattened, and the narrow shapes of its operations."""
    import jax
    import jax.numpy as jnp

    from zoo.orca.frameworks.keras.backends.jax_flat import flattened, narrow_shapes

    def step(state, batch):
        """Adam's update with a clip by value and by norm, and an unused part."""
        table, m, v, n = state
        g = jax.grad(lambda t: ((jnp.take(t, batch, axis=0) ** 2).sum(-1) - 1.0).sum())(table)
        g = jnp.clip(g, -0.5, 0.5)
        g = g * (1.0 / jnp.maximum(jnp.sqrt((g**2).sum()), 1.0))
        m = m + (g - m) * 0.1
        v = v + (jnp.square(g) - v) * 0.001
        rate = 0.001 * jnp.sqrt(1 - 0.999**n) / (1 - 0.9**n)
        new = table - m * rate / (jnp.sqrt(v) + 1e-7)
        new = jnp.where(new > 5, jnp.full_like(new, 5.0), new) + jnp.arange(16.0)
        return {"sum": new.sum()}, (new, m, v, n + 1)

    rng = np.random.default_rng(0)
    tables = [jnp.array(rng.standard_normal((3000, 16)), jnp.float32) for _ in range(3)]
    arguments = ((*tables[:2], jnp.square(tables[2]), 3.0), np.arange(500) % 77)
    assert not narrow_shapes([jnp.ones((300, 160)), jnp.ones(50_000), jnp.ones((99, 16))])
    flat_step = flattened(step, narrow_shapes(tables))
    ways = [jax.jit(way)(*arguments) for way in (step, flat_step)]
    jaxpr = jax.make_jaxpr(flat_step)(*arguments)
    narrow = [e.primitive.name for e in jaxpr.eqns if (3000, 16) == e.outvars[0].aval.shape]
    return [[np.asarray(x) for x in jax.tree_util.tree_leaves(way)] for way in ways], narrow


def test_a_step_is_the_same_on_vectors(ranks: Ranks):
    (as_it_is, flat), narrow = ranks.alone(both_ways)
    for one, two in zip(as_it_is, flat, strict=True):
        assert one.shape == two.shape and one.dtype == two.dtype
        np.testing.assert_allclose(two, one, 1e-6, 1e-7)
    # What is no operation on single elements: JAX's own lookup, its gradient, and one row for all.
    assert set(narrow) <= {"reshape", "jit", "scatter-add", "broadcast_in_dim", "add"}
    assert narrow.count("add") == 1 and "sqrt" not in narrow
