"""Whatever the workers: the same rows in each step, each row once a pass, nearly equal shares."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.plans.canonical import CanonicalPlan, shard_sizes

BATCH_SIZES = st.one_of(st.integers(1, 20), st.sampled_from([32, 64, 100, 1000]))
FIELDS = {"rows": st.integers(1, 2000), "batch_size": BATCH_SIZES, "seed": st.integers(0, 9)}


def steps(plan, passes, start=0):
    """The shard and the number within it of each row of each step, by rank."""
    sizes = shard_sizes(plan.rows, plan.batch_size)
    found = []
    for rank in range(plan.workers):
        mine = np.arange(rank, plan.batch_size, plan.workers)
        names = [(shard, row) for shard in mine for row in range(sizes[shard])]
        taken = itertools.islice(plan.steps(rank, start), passes * plan.steps_per_pass - start)
        found.append([[names[row] for row in step] for step in taken])
    return found


def together(by_rank):
    """The rows of each step over all ranks, in the order of the shards."""
    return [sorted(itertools.chain(*step)) for step in zip(*by_rank, strict=True)]


@given(**FIELDS, workers=st.integers(2, 130), shuffle=st.booleans())
def test_the_rows_of_a_step_do_not_depend_on_the_workers(workers, **fields):
    alone, several = (steps(CanonicalPlan(workers=n, **fields), 3) for n in (1, workers))
    assert together(several) == together(alone)
    shards = [[shard for shard, _ in step] for step in alone[0]]
    assert shards == [sorted(step) for step in shards]


@given(**FIELDS, shuffle=st.booleans())
def test_each_pass_has_each_row_once_in_steps_of_the_batch_size(**fields):
    plan = CanonicalPlan(workers=1, **fields)
    taken, per_pass = steps(plan, 2)[0], plan.steps_per_pass
    sizes = shard_sizes(plan.rows, plan.batch_size)
    for one in (taken[:per_pass], taken[per_pass:]):
        assert sorted(itertools.chain(*one)) == [
            (shard, row) for shard in range(plan.batch_size) for row in range(sizes[shard])
        ]
        assert {len(step) for step in one[:-1]} <= {plan.batch_size}


@given(**FIELDS, workers=st.integers(1, 130))
def test_ranks_have_equal_shares_of_all_steps_but_the_last_two(workers, **fields):
    plan = CanonicalPlan(workers=workers, **fields)
    shares = np.array([[len(step) for step in rank] for rank in steps(plan, 2)])
    shares = shares.reshape(workers, 2, plan.steps_per_pass)
    spread = shares.max(axis=0) - shares.min(axis=0)
    assert (spread[:, :-2] <= 1).all()
    assert (spread <= 4).all()
    regular = shares[:, :, : max(plan.steps_per_pass - 2, 0)]
    assert (regular == regular[:, :1, :1]).all()
    assert shares.sum(axis=(1, 2)).tolist() == [2 * count for count in plan.counts]


@given(**FIELDS, workers=st.integers(1, 5), start=st.integers(0, 100))
def test_a_resumed_plan_goes_on_with_the_next_step(workers, start, **fields):
    plan = CanonicalPlan(workers=workers, **fields)
    start %= 2 * plan.steps_per_pass
    for whole, rest in zip(steps(plan, 2), steps(plan, 2, start), strict=True):
        assert whole[start:] == rest


def test_passes_and_seeds_have_orders_of_their_own():
    first, second = np.array(
        steps(CanonicalPlan(rows=640, workers=1, batch_size=64), 2)[0]
    ).reshape(2, 640, 2)
    other = np.array(steps(CanonicalPlan(rows=640, workers=1, batch_size=64, seed=1), 1)[0])
    orders = [one.reshape(640, 2).tolist() for one in (first, second, other)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize(("rows", "batch_size"), [(130, 64), (129, 64), (1000, 320), (100, 64)])
def test_each_row_may_be_in_the_smaller_step(rows, batch_size):
    """A shard there gives one of its rows, so with one row more each has a little less chance."""
    plan = CanonicalPlan(rows=rows, workers=1, batch_size=batch_size)
    each, more = divmod(rows, batch_size)
    counted = np.zeros((batch_size, each + 1))
    for step in steps(plan, 3000)[0][plan.steps_per_pass - 1 :: plan.steps_per_pass]:
        for row in step:
            counted[row] += 1
    larger, others = counted[:more], counted[more:, :each]
    expected = each / (each + 1)
    if more > 1:
        assert larger.min() > 0 and others.min() > 0
    assert larger.mean() / others.mean() == pytest.approx(expected, rel=0.3 if more < 8 else 0.05)


def test_two_rows_meet_as_often_as_under_a_permutation_of_all():
    plan, passes = CanonicalPlan(rows=640, workers=1, batch_size=64), 3000
    met = 0
    for step in steps(plan, passes)[0]:
        met += {(3, 7), (40, 2)} <= set(step)
    assert abs(met / passes - 0.1) < 0.03  # one in ten steps


def test_a_plan_needs_rows_and_a_batch_size():
    with pytest.raises(ValueError, match="at least one row"):
        CanonicalPlan(rows=0, workers=1, batch_size=3)
    with pytest.raises(ValueError, match="batch_size"):
        CanonicalPlan(rows=1, workers=1, batch_size=0)
