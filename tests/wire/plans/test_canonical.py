"""Whatever the workers: the same rows in each step, each row once a pass, nearly equal shares."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.plans.canonical import CanonicalPlan, first_row

BATCH_SIZES = st.one_of(st.integers(1, 20), st.sampled_from([32, 64, 100, 1000]))
FIELDS = {"rows": st.integers(1, 2000), "batch_size": BATCH_SIZES, "seed": st.integers(0, 9)}


def steps(plan, passes, start=0):
    """The places in the sequence of each row of each step, by rank."""
    firsts = np.cumsum([0, *plan.counts])
    found = []
    for rank in range(plan.workers):
        taken = itertools.islice(plan.steps(rank, start), passes * plan.steps_per_pass - start)
        found.append([(step + firsts[rank]).tolist() for step in taken])
    return found


def together(by_rank):
    """The rows of each step over all ranks, in their order."""
    return [list(itertools.chain(*step)) for step in zip(*by_rank, strict=True)]


@given(**FIELDS, workers=st.integers(2, 130), shuffle=st.booleans())
def test_the_rows_of_a_step_do_not_depend_on_the_workers(workers, **fields):
    alone, several = (CanonicalPlan(workers=n, **fields) for n in (1, workers))
    assert together(steps(several, 3)) == together(steps(alone, 3))


@given(**FIELDS, shuffle=st.booleans())
def test_each_pass_has_each_row_once_in_steps_of_the_batch_size(**fields):
    plan = CanonicalPlan(workers=1, **fields)
    taken, per_pass = steps(plan, 2)[0], plan.steps_per_pass
    for one in (taken[:per_pass], taken[per_pass:]):
        assert sorted(itertools.chain(*one)) == list(range(plan.rows))
        assert {len(step) for step in one[:-1]} <= {plan.batch_size}


@given(**FIELDS, workers=st.integers(1, 130))
def test_a_rank_knows_its_shares_without_its_rows(workers, **fields):
    plan = CanonicalPlan(workers=workers, **fields)
    by_rank = steps(plan, 2)
    for step in range(2 * plan.steps_per_pass):
        shares = [len(rank[step]) for rank in by_rank]
        assert [plan.share(rank, step) for rank in range(workers)] == shares
        assert plan.fewest(step) == min(shares)
        assert plan.someone_idles or min(shares) > 0
    assert [len(list(itertools.chain(*rank[: plan.steps_per_pass]))) for rank in by_rank] == list(
        plan.counts
    )


@given(**FIELDS, workers=st.integers(1, 130))
def test_ranks_have_equal_shares_of_all_steps_but_the_last_two(workers, **fields):
    plan = CanonicalPlan(workers=workers, **fields)
    shares = np.array([[len(step) for step in rank] for rank in steps(plan, 2)])
    shares = shares.reshape(workers, 2, plan.steps_per_pass)
    spread = shares.max(axis=0) - shares.min(axis=0)
    assert (spread[:, :-2] <= 1).all()
    assert (spread <= 3).all()
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
    fields = {"rows": 640, "workers": 1, "batch_size": 64}
    first, second = np.reshape(steps(CanonicalPlan(**fields), 2)[0], (2, 640)).tolist()
    other = np.reshape(steps(CanonicalPlan(seed=1, **fields), 1)[0], 640).tolist()
    assert first != second != other != first


@pytest.mark.parametrize(("rows", "batch_size"), [(130, 64), (129, 64), (1007, 320), (100, 64)])
def test_each_row_may_be_in_the_smaller_step(rows, batch_size):
    """A shard there gives one of its rows, so with one row more each has a little less chance."""
    plan = CanonicalPlan(rows=rows, workers=1, batch_size=batch_size)
    each = rows // batch_size
    counted = np.zeros(rows)
    for step in steps(plan, 3000)[0][plan.steps_per_pass - 1 :: plan.steps_per_pass]:
        counted[step] += 1
    sizes = np.diff(first_row(rows, batch_size, np.arange(batch_size + 1)))
    is_larger = np.repeat(sizes > each, sizes)
    larger, others = counted[is_larger], counted[~is_larger]
    assert larger.min() > 0 and others.min() > 0
    few = rows % batch_size < 8
    assert larger.mean() / others.mean() == pytest.approx(
        each / (each + 1), rel=0.3 if few else 0.05
    )


def test_two_rows_meet_as_often_as_under_a_permutation_of_all():
    plan, passes = CanonicalPlan(rows=640, workers=1, batch_size=64), 3000
    met = sum({37, 402} <= set(step) for step in steps(plan, passes)[0])
    assert abs(met / passes - 0.1) < 0.03  # one in ten steps


@pytest.mark.parametrize("workers", [1, 2, 3, 130])
@pytest.mark.parametrize(("rows", "batch_size"), [(10**6, 1280), (10**6 - 7, 10**5), (9, 10**5)])
def test_large_jobs(rows, batch_size, workers):
    plan = CanonicalPlan(rows=rows, workers=workers, batch_size=batch_size, seed=3)
    alone = CanonicalPlan(rows=rows, workers=1, batch_size=batch_size, seed=3)
    firsts = np.cumsum([0, *plan.counts])
    assert firsts[-1] == rows
    one_pass, ends = next(alone.passes(0))
    assert (np.sort(one_pass) == np.arange(rows)).all()
    passes = [next(plan.passes(rank)) for rank in range(workers)]
    for step in {0, len(ends) // 2, len(ends) - 2, len(ends) - 1} & set(range(len(ends))):
        parts = [
            order[its[step - 1] if step else 0 : its[step]] + firsts[rank]
            for rank, (order, its) in enumerate(passes)
        ]
        whole = one_pass[ends[step - 1] if step else 0 : ends[step]]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_plan_needs_rows_and_a_batch_size():
    with pytest.raises(ValueError, match="at least one row"):
        CanonicalPlan(rows=0, workers=1, batch_size=3)
    with pytest.raises(ValueError, match="batch_size"):
        CanonicalPlan(rows=1, workers=1, batch_size=0)
