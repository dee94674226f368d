"""What ranks send of a JAX step: rows of tables where they are fewer bytes, and the same sums."""

import numpy as np
import pytest

from tests.frameworks.ranks import Ranks

pytestmark = pytest.mark.timeout(300)

SHAPES = {"wide": (4000, 5), "small": (7, 3), "dense": (6, 4), "vector": (3,)}


def steps(plan, collective):
    """The gradients of some steps, summed, and the most bytes that one sum or message had.

    `plan` has the rows of each rank in each step. A rank without rows computes with one that does
    not count.
    """
    import jax
    import jax.numpy as jnp

    from zoo.orca.frameworks.keras.backends.jax_cut import CutStep, exchange_here
    from zoo.orca.frameworks.keras.backends.jax_exchange import Exchange

    class Counting:
        rank, size = collective.rank, collective.size
        most = 0

        def all_reduce(self, array):
            self.most = max(self.most, array.nbytes)
            collective.all_reduce(array)

        def all_gather(self, data, merge=None):
            self.most = max(self.most, len(data))
            return collective.all_gather(data, merge)

    counting = Counting()
    exchange = Exchange(counting, lambda call: call)

    def step(state, data):
        weights, batch = state["weights"], data["ids"]

        def loss(w):
            rows = jnp.take(w["wide"], batch, axis=0) * jnp.take(w["wide"], batch + 9, axis=0)
            few = jnp.take(w["small"], batch % 7, axis=0)
            mean = (rows.sum() + few.sum()) / batch.size
            return mean + (w["dense"] ** 3).sum() + (w["vector"] ** 2).sum()

        gradients = jax.grad(loss)(weights)
        names = sorted(gradients)
        summed = exchange_here(
            [gradients[n] for n in names], data["rows"], data["of"], exchange
        )  # fmt: skip
        new = {n: weights[n] - 0.1 * g for n, g in zip(names, summed, strict=True)}
        return dict(zip(names, summed, strict=True)), {"weights": new}

    rng = np.random.default_rng(0)
    state = {"weights": {n: jnp.array(rng.standard_normal(s)) for n, s in SHAPES.items()}}
    cut, found = CutStep(step), []
    for now in plan:
        ids = rng.integers(0, 3990, sum(now))
        start = sum(now[: collective.rank])
        own = ids[start : start + now[collective.rank]]
        data = {"ids": own if len(own) else np.zeros(1, ids.dtype)}
        data |= {"rows": np.int32(len(own)), "of": np.int32(sum(now))}
        logs, state = cut(state, data)
        found.append({name: np.asarray(value) for name, value in logs.items()})
    return found, counting.most


@pytest.mark.parametrize(
    "plan", [[(8, 5), (8, 5), (7, 5)], [(1, 0), (0, 1), (2, 3)], [(4, 4, 3)] * 2 + [(0, 0, 1)]]
)
def test_ranks_get_what_one_rank_computes(ranks: Ranks, plan):
    def run(plan):
        return ranks.run([lambda collective: steps(plan, collective)] * len(plan[0]))

    together, ((alone, _),) = run(plan), run([(sum(shares),) for shares in plan])
    for found, most in together:
        for one, two in zip(alone, found, strict=True):
            for name, value in one.items():
                assert two[name].dtype == value.dtype and two[name].shape == SHAPES[name]
                np.testing.assert_allclose(two[name], value, 2e-5, 1e-6)
        # The table of 4,000 rows is never sent whole: it has 80,000 bytes.
        assert most < 8000
    for found, _ in together[1:]:
        for one, two in zip(together[0][0], found, strict=True):
            for name, value in one.items():
                np.testing.assert_array_equal(two[name], value)
