"""A plan over rows of which several come out."""

import numpy as np
import pytest

from zoo.orca.wire.plans.canonical import CanonicalPlan
from zoo.orca.wire.plans.multiplied import MultipliedPlan
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.wire.plans.plan import global_rows

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    "plan",
    [
        PlacedPlan(counts=(7, 4), batch_size=4, seed=1, window=3),
        CanonicalPlan(rows=11, workers=2, batch_size=4, seed=1),
    ],
)
def test_every_count_is_that_of_the_rows_that_come_out(plan):
    many = MultipliedPlan(given=plan, factor=3)
    assert (many.rows, many.counts) == (33, tuple(3 * count for count in plan.counts))
    assert (many.batch_size, many.steps_per_pass) == (12, plan.steps_per_pass)
    assert (many.window, many.is_canonical) == (plan.window, plan.is_canonical)
    assert many.someone_idles == plan.someone_idles
    steps = range(2 * plan.steps_per_pass)
    of = global_rows(many, 0, len(steps))
    np.testing.assert_array_equal(of, 3 * global_rows(plan, 0, len(steps)))
    for step in steps:
        assert sum(many.share(rank, step) for rank in (0, 1)) == of[step]
        assert many.fewest(step) == 3 * plan.fewest(step)
    for rank in (0, 1):
        assert many.most(rank) == 3 * plan.most(rank)
        assert many.is_ragged(rank) == plan.is_ragged(rank)
        pairs = zip(many.steps(rank, 2), plan.steps(rank, 2), strict=False)
        for (ours, theirs), _ in zip(pairs, steps, strict=False):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(next(many.passes(rank))[1], next(plan.passes(rank))[1])
