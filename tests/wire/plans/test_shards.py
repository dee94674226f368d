"""Levelling by shards: every rank's part fits the others', and no shard depends on the workers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.plans.canonical import CanonicalPlan, shard_sizes
from zoo.orca.wire.plans.shards import dealt, level


def levelled(shards, count, workers):
    """The rows of each shard afterwards, by their numbers before."""
    held = [np.flatnonzero(shards % workers == rank) for rank in range(workers)]
    sizes = dealt(shards, count)
    moves = [level(sizes, shards[held[rank]], rank, workers) for rank in range(workers)]
    given_by_all = np.concatenate([held[rank][move.given] for rank, move in enumerate(moves)])
    goal, found = shard_sizes(len(shards), count), [[] for _ in range(count)]
    for rank, move in enumerate(moves):
        has = np.concatenate([held[rank], given_by_all[move.taken]])[move.order]
        plan = CanonicalPlan(rows=len(shards), workers=workers, batch_size=count)
        assert len(has) == plan.counts[rank]
        mine = range(rank, count, workers)
        for shard, rows in zip(mine, np.split(has, np.cumsum(goal[rank::workers])), strict=False):
            found[shard] = rows.tolist()
    return found


@given(
    rows=st.integers(1, 500),
    count=st.integers(1, 300),
    workers=st.integers(2, 130),
    seed=st.integers(0, 100),
)
def test_shards_are_levelled_alike_for_any_number_of_workers(rows, count, workers, seed):
    shards = np.random.default_rng(seed).integers(0, count, rows)
    alone = levelled(shards, count, 1)
    assert levelled(shards, count, workers) == alone
    assert [len(one) for one in alone] == shard_sizes(rows, count).tolist()
    assert sorted(sum(alone, [])) == list(range(rows))


def test_a_shard_keeps_its_first_rows():
    found = levelled(np.array([0, 2, 0, 0, 2, 0]), 3, 2)
    assert found == [[0, 2], [3, 5], [1, 4]]
