"""Which gradients of a traced step are rows of a table."""

import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)


def counts():
    """How many parts of rows each way to use a table has."""
    import jax
    import jax.numpy as jnp

    from zoo.orca.frameworks.keras.backends.jax_rows import rows_of

    table, ids = jnp.ones((50, 4)), jnp.arange(6).reshape(2, 3)
    losses = {
        "taken": lambda t: jnp.take(t, ids, axis=0).sum(),
        "indexed": lambda t: (t[ids] ** 2).sum(),
        "of numbers": lambda t: (t[:, 0][ids[0]] ** 2).sum(),
        "twice": lambda t: (jnp.take(t, ids, axis=0) * jnp.take(t, ids + 7, axis=0)).sum(),
        "with a penalty": lambda t: jnp.take(t, ids, axis=0).sum() + (t**2).sum(),
        "of another axis": lambda t: jnp.take(t, ids[0], axis=1).sum(),
        "scaled": lambda t: jnp.take(3 * t, ids, axis=0).sum(),
        "clipped": lambda t: t.at[ids].get(mode="clip").sum(),
        "dense": lambda t: (t**2).sum(),
    }
    found = {}
    for name, loss in losses.items():
        jaxpr = jax.make_jaxpr(jax.grad(loss))(table).jaxpr
        makers = {v: equation for equation in jaxpr.eqns for v in equation.outvars}
        found[name] = len(rows_of(jaxpr.outvars[0], makers))
    return found


def test_gradients_that_are_rows(ranks: Ranks):
    found = ranks.alone(counts)
    assert found.pop("taken") == found.pop("indexed") == 1
    assert found.pop("twice") == 2
    assert not any(found.values())
