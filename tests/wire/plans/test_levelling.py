"""Levelling: workers end with the same number of rows, and no row moves without need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.plans.levelling import levelled, moves
from zoo.orca.wire.plans.placed import PlacedPlan

pytestmark = pytest.mark.timeout(60)

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=8).map(tuple)


@given(COUNTS)
def test_all_have_as_many_and_no_row_is_lost(counts):
    goals, plan = levelled(counts), moves(counts)
    assert sum(goals) == sum(counts)
    assert max(goals) - min(goals) <= 1
    assert [move.keeps + move.stop - move.start for move in plan] == list(goals)
    taken = [number for move in plan for number in range(move.start, move.stop)]
    given_away = sum(count - move.keeps for count, move in zip(counts, plan, strict=True))
    assert taken == list(range(given_away))


@given(COUNTS)
def test_nobody_both_gives_and_takes(counts):
    for count, move in zip(counts, moves(counts), strict=True):
        assert move.keeps == count or move.start == move.stop


@given(COUNTS)
def test_level_counts_stay(counts):
    goals = levelled(counts)
    assert levelled(goals) == goals
    assert [(m.keeps, m.start, m.stop) for m in moves(goals)] == [(goal, 0, 0) for goal in goals]


@given(COUNTS.filter(any), st.integers(1, 50))
def test_full_batches_have_one_size_on_each_worker(counts, rows_of_each):
    plan = PlacedPlan(counts=levelled(counts), batch_size=rows_of_each * len(counts))
    full = plan.rows // plan.batch_size
    for rank in range(len(counts)):
        assert set(plan.shares(rank)[:full].tolist()) <= {rows_of_each}
