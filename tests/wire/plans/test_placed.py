"""The plan: every row once a pass, shares even, orders reproducible."""

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.orca.wire.plans.placed import PlacedPlan

pytestmark = pytest.mark.timeout(120)

plans = st.builds(
    PlacedPlan,
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any).map(tuple),
    batch_size=st.integers(1, 90),
    seed=st.integers(0, 2**31),
    shuffle=st.booleans(),
)


def ends_by_brute_force(plan):
    """Merge all workers' rows by their places and count, step by step."""
    merged = sorted(
        (Fraction(2 * row + 1, 2 * count), rank)
        for rank, count in enumerate(plan.counts)
        for row in range(count)
    )
    ranks = [rank for _, rank in merged]
    workers = range(len(plan.counts))
    cuts = range(plan.batch_size, plan.rows + plan.batch_size, plan.batch_size)
    return [[ranks[:cut].count(worker) for worker in workers] for cut in cuts]


def steps_of(plan, rank, number, start=0):
    return [step.tolist() for step in islice(plan.steps(rank, start), number)]


@given(plans)
@settings(max_examples=300)
def test_ends_are_those_of_the_merged_rows(plan):
    assert plan.ends().tolist() == ends_by_brute_force(plan)


@given(plans)
def test_shares_add_up_to_the_batch(plan):
    shares = np.stack([plan.shares(rank) for rank in range(len(plan.counts))])
    assert (shares >= 0).all()
    sizes = shares.sum(axis=0)
    assert (sizes[:-1] == plan.batch_size).all()
    assert 0 < sizes[-1] <= plan.batch_size
    assert sizes.sum() == plan.rows


@given(plans)
@settings(max_examples=300)
def test_shares_are_proportional(plan):
    """Within a row where workers are equal; else the workers' rounding may add up, to W / 2 rows.

    Up to a place `t` of the merged rows each worker has `t * c` rows to within half a row, so the
    place that belongs to a step's end is off by W / (2 N) at most.
    """
    counts, workers = np.array(plan.counts), len(plan.counts)
    used = np.minimum(np.arange(1, plan.steps_per_pass + 1) * plan.batch_size, plan.rows)
    ideal = used[:, None] * counts / plan.rows
    bound = 0.5 + counts * workers / (2 * plan.rows)
    assert (np.abs(plan.ends() - ideal) <= bound + 1e-9).all()


@given(st.integers(1, 200), st.integers(1, 8), st.integers(1, 90))
def test_equal_workers_are_within_a_row(count, workers, batch_size):
    ends = PlacedPlan(counts=(count,) * workers, batch_size=batch_size).ends()
    assert (ends.max(axis=1) - ends.min(axis=1) <= 1).all()


@given(plans, st.integers(0, 3))
def test_a_pass_takes_every_row_once(plan, pass_index):
    start = pass_index * plan.steps_per_pass
    for rank, count in enumerate(plan.counts):
        rows = sum(steps_of(plan, rank, plan.steps_per_pass, start), [])
        assert sorted(rows) == list(range(count))


@given(plans)
def test_the_same_seed_gives_the_same_order(plan):
    again = PlacedPlan(
        counts=plan.counts, batch_size=plan.batch_size, seed=plan.seed, shuffle=plan.shuffle
    )
    for rank in range(len(plan.counts)):
        number = 2 * plan.steps_per_pass
        assert steps_of(plan, rank, number) == steps_of(again, rank, number)


@given(plans, st.integers(0, 300))
def test_a_start_in_the_middle_goes_on_with_the_very_next_rows(plan, start):
    for rank in range(len(plan.counts)):
        unbroken = steps_of(plan, rank, start + 5)
        assert steps_of(plan, rank, 5, start) == unbroken[start:]


def test_passes_and_ranks_and_seeds_differ():
    plan = PlacedPlan(counts=(100, 100), batch_size=10, seed=3)
    orders = [
        plan.order(0, 0),
        plan.order(0, 1),
        plan.order(1, 0),
        PlacedPlan(counts=(100,), batch_size=10).order(0, 0),
    ]
    assert len({tuple(order) for order in orders}) == 4


def test_without_shuffling_rows_come_as_they_lie():
    plan = PlacedPlan(counts=(4, 2), batch_size=3, shuffle=False)
    assert steps_of(plan, 0, 4) == [[0, 1], [2, 3], [0, 1], [2, 3]]
    assert steps_of(plan, 1, 4) == [[0], [1], [0], [1]]


def test_equal_workers_take_equal_shares():
    plan = PlacedPlan(counts=(600, 600), batch_size=100)
    assert (plan.shares(0) == 50).all()
    assert (plan.shares(1) == 50).all()


@pytest.mark.parametrize("batch_size", [1000, 1024, 4096])
@pytest.mark.parametrize("counts", [(10**9, 10**9 + 1), (7, 10**8), (10**8 - 1, 10**8, 3)])
def test_many_rows(counts, batch_size):
    plan = PlacedPlan(counts=counts, batch_size=batch_size * 1000)
    ends = plan.ends()
    assert (np.diff(ends, axis=0, prepend=0) >= 0).all()
    assert ends[-1].tolist() == list(counts)
    steps = np.arange(1, len(ends) + 1) * plan.batch_size
    assert (ends.sum(axis=1) == np.minimum(steps, plan.rows)).all()


@pytest.mark.parametrize("counts", [(), (0,), (0, 0), (3, -1)])
def test_a_plan_without_rows_is_refused(counts):
    with pytest.raises(ValueError, match="at least one row"):
        PlacedPlan(counts=counts, batch_size=2)


def test_a_batch_without_rows_is_refused():
    with pytest.raises(ValueError, match="batch_size"):
        PlacedPlan(counts=(2,), batch_size=0)
