"""Which rows move so that all shards have the right number: each rank computes it for itself.

The exchange deals rows to shards at random, so shards have nearly the same number of rows. They
must have exactly the number that `zoo.orca.wire.plans.canonical` gives them. Which rows move
depends on the numbers of rows of the shards alone, not on the workers: a shard with too many rows
gives its last ones. In the order of shards, the given rows go to the shards with too few.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.canonical import shard_sizes

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelling:
    """What one rank gives, takes, and has afterwards.

    Parameters
    ----------
    given : array
        Its rows that it gives, in the order in which it must give them.
    taken : array
        Places, among all that was given by all ranks in their order, of the rows that it takes.
    order : array
        Its rows afterwards, shard by shard. A number from its former row count on means a row that
        was taken, in the order of `taken`.
    moved : bool
        Whether any row of any rank moves.
    """

    given: Int64
    taken: Int64
    order: Int64
    moved: bool


def dealt(shards: NDArray[np.integer], count: int) -> Int64:
    """Return the number of rows of each of `count` shards."""
    return np.bincount(shards, minlength=count).astype(np.int64)


def level(sizes: Int64, shards: NDArray[np.integer], rank: int, workers: int) -> Levelling:
    """Return what a rank does.

    Parameters
    ----------
    sizes : array of shape (shards,)
        Rows of each shard over all workers, before.
    shards : array of shape (rows,)
        The shard of each of this rank's rows, which come in an order that is always the same.
    rank, workers : int
    """
    goal = shard_sizes(int(sizes.sum()), len(sizes))
    surplus, missing = np.maximum(sizes - goal, 0), np.maximum(goal - sizes, 0)
    by_shard = np.argsort(shards, kind="stable")
    sorted_shards = shards[by_shard].astype(np.int64)
    within = np.arange(len(shards)) - np.searchsorted(sorted_shards, sorted_shards)
    stays = within < goal[sorted_shards]
    taken, taken_by = _taken(surplus, missing, rank, workers)
    kept_by = sorted_shards[stays]
    together = np.concatenate([kept_by, taken_by])
    rows = np.concatenate([by_shard[stays], len(shards) + np.arange(len(taken))])
    return Levelling(
        given=by_shard[~stays],
        taken=taken,
        order=rows[np.argsort(together, kind="stable")],
        moved=bool(surplus.any()),
    )


def _taken(surplus: Int64, missing: Int64, rank: int, workers: int) -> tuple[Int64, Int64]:
    """Return the places of the rows that a rank takes, and their new shards."""
    givers = np.repeat(np.arange(len(surplus)), surplus) % workers
    # All given rows, in the order of shards, as they lie one rank after another.
    places = np.empty(len(givers), np.int64)
    places[np.argsort(givers, kind="stable")] = np.arange(len(givers))
    takers = np.repeat(np.arange(len(missing)), missing)
    mine = takers % workers == rank
    return places[mine], takers[mine]
