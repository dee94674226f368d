"""Blocks of steps: the plan's order, and a row that counts as none where a rank has none."""

import itertools

import numpy as np
import pytest

from zoo.orca.wire.plan import Plan

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.timeout(300)


def steps_of(blocks, start, count):
    found = []
    for order, ends, rows, of in blocks.take(start, count):
        found += zip(np.split(order, ends[:-1]), rows.tolist(), of.tolist(), strict=True)
    return found


@pytest.mark.parametrize("counts", [(23,), (17, 30), (20, 0, 3), (2, 1, 0)])
@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_blocks_follow_the_plan(counts, batch_size):
    from zoo.orca.frameworks.tf_feed import Blocks

    plan = Plan(counts, batch_size, seed=3)
    for rank in range(len(counts)):
        blocks, expected = Blocks(plan, rank), plan.steps(rank)
        position = 0
        for count in (1, 2 * plan.steps_per_pass + 1, 3):
            for chosen, rows, of in steps_of(blocks, position, count):
                planned = next(expected)
                assert rows == len(planned)
                assert chosen.tolist() == (planned.tolist() or [0])
                assert 0 < of <= batch_size
            position += count
        again = steps_of(Blocks(plan, rank), position, 5)
        for (chosen, rows, _), planned in zip(again, itertools.islice(expected, 5), strict=True):
            assert chosen[:rows].tolist() == planned.tolist()
