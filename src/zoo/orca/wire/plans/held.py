"""The steps of any batch size over rows that lie on the workers already.

A user's own loop names its batch size when the rows have long been placed. In the canonical order
the rows of a step do not depend on where they lie. So each rank takes, of each step's rows, those
that it holds. Where the batch size is a multiple of the workers, that is the very share that `fit`
gives it: the parts of the sequence that ranks hold then end where shards do.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.canonical import CanonicalPlan, first_row
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.wire.plans.plan import Plan

Int64 = NDArray[np.int64]


def own_rows(plan: Plan, rank: int) -> Int64:
    """Return where a rank's rows lie: in their sequence, if they are in one."""
    if isinstance(plan, CanonicalPlan) and plan.places is not None:
        return plan.places
    return np.arange(plan.counts[rank])


def of_one_pass(plan: Plan, rank: int, batch_size: int, number: int) -> Iterator[Int64]:
    """Yield a rank's row numbers for each step of one pass; a step may be without any.

    Parameters
    ----------
    plan : Plan
        By which the rows were placed.
    rank : int
    batch_size : int
        Rows of one step over all workers together.
    number : int
        The pass, from 0.
    """
    if isinstance(plan, PlacedPlan):
        other = replace(plan, batch_size=batch_size)
        left = other.steps_per_pass
        for order, ends in other.passes(rank, number * left):
            yield from np.split(order, ends[:-1])
            left -= len(ends)
            if left <= 0:
                return
    elif isinstance(plan, CanonicalPlan):
        order, ends = _held(plan, rank, batch_size, number)
        yield from np.split(order, ends[:-1])
    else:
        raise TypeError(f"no rows are placed by a {type(plan).__name__}")


def _held(plan: CanonicalPlan, rank: int, batch_size: int, number: int) -> tuple[Int64, Int64]:
    """Return the rows that a rank holds of a pass, in the order of its steps, and steps' ends."""
    counts = plan.counts
    start = sum(counts[:rank])
    stop = start + counts[rank]
    other = replace(plan, batch_size=batch_size, workers=1, places=None)
    # Every shard of which this rank holds a row; the first and the last one perhaps in part.
    edges = first_row(plan.rows, batch_size, np.arange(batch_size + 1))
    first = int(np.searchsorted(edges, start, "right")) - 1
    last = int(np.searchsorted(edges, stop, "left"))
    order, ends = other.of_shards(first, max(last, first), number)
    is_mine = (order >= start) & (order < stop)
    ends = np.concatenate([[0], np.cumsum(is_mine, dtype=np.int64)])[ends]
    own = order[is_mine] - start
    return (own if plan.places is None else plan.places[own]), ends
