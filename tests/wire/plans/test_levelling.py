"""Levelling: each worker ends with its part of the sequence, and no row moves without need."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.plans.levelling import levelled, moves
from zoo.orca.wire.plans.placed import PlacedPlan

pytestmark = pytest.mark.timeout(60)

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=8).map(tuple)


@st.composite
def counts_and_goals(draw):
    """Rows of each rank before and afterwards, sometimes equal numbers."""
    counts = draw(COUNTS)
    cuts = sorted(
        draw(
            st.lists(
                st.integers(0, sum(counts)), min_size=len(counts) - 1, max_size=len(counts) - 1
            )
        )
    )
    goals = np.diff([0, *cuts, sum(counts)]).tolist()
    return counts, draw(st.sampled_from([tuple(goals), levelled(counts), counts]))


@given(counts_and_goals())
def test_the_sequence_stays_and_each_rank_has_its_part(given):
    counts, goals = given
    plan = moves(counts, goals)
    firsts = np.cumsum([0, *counts])
    rows = [np.arange(start, stop) for start, stop in pairwise(firsts)]
    pool = np.concatenate(
        [np.r_[own[: m.start], own[m.stop :]] for own, m in zip(rows, plan, strict=True)]
    )
    after = [
        np.r_[pool[m.before], own[m.start : m.stop], pool[m.after]]
        for own, m in zip(rows, plan, strict=True)
    ]
    assert [len(part) for part in after] == list(goals)
    assert np.concatenate(after).tolist() == list(range(sum(counts)))
    assert sum(m.takes for m in plan) == len(pool)


@given(COUNTS)
def test_level_counts_stay(counts):
    goals = levelled(counts)
    assert sum(goals) == sum(counts) and max(goals) - min(goals) <= 1
    assert levelled(goals) == goals
    assert not any(move.takes for move in moves(goals, goals))


@given(COUNTS.filter(any), st.integers(1, 50))
def test_full_batches_have_one_size_on_each_worker(counts, rows_of_each):
    plan = PlacedPlan(counts=levelled(counts), batch_size=rows_of_each * len(counts))
    full = plan.rows // plan.batch_size
    for rank in range(len(counts)):
        assert set(plan.shares(rank)[:full].tolist()) <= {rows_of_each}
