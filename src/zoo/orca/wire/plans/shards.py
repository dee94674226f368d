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
        Its rows that other ranks take, in the order in which it must give them.
    taken : array
        Places, among all rows that ranks give, rank by rank, of the rows that it takes.
    order : array
        Its rows afterwards, shard by shard. A number from its former row count on means a row that
        was taken, in the order of `taken`.
    moved : bool
        Whether any row of any rank changes its worker.
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
    by_shard = np.argsort(shards, kind="stable")
    sorted_shards = shards[by_shard].astype(np.int64)
    within = np.arange(len(shards)) - np.searchsorted(sorted_shards, sorted_shards)
    stays = within < goal[sorted_shards]
    kept, surplus = by_shard[stays], by_shard[~stays]
    moves = _moves(sizes, goal, workers)
    mine = moves.takers == rank
    # A row that changes its shard, but not its worker, stays where it is.
    comes = mine & moves.crosses
    rows = np.empty(len(mine), np.int64)
    rows[moves.givers == rank] = surplus
    rows[comes] = len(shards) + np.arange(comes.sum())
    together = np.concatenate([sorted_shards[stays], moves.shards[mine]])
    order = np.concatenate([kept, rows[mine]])[np.argsort(together, kind="stable")]
    return Levelling(
        given=surplus[moves.crosses[moves.givers == rank]],
        taken=_places(moves)[comes],
        order=order,
        moved=bool(moves.crosses.any()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    """All rows that change their shard, in the order in which they are given.

    `givers` and `takers` are ranks; `shards` are the rows' new ones.
    """

    givers: Int64
    takers: Int64
    shards: Int64

    @property
    def crosses(self) -> NDArray[np.bool_]:
        """Which of them change their worker."""
        crosses: NDArray[np.bool_] = self.givers != self.takers
        return crosses


def _moves(sizes: Int64, goal: Int64, workers: int) -> _Moves:
    numbers = np.arange(len(sizes))
    given = np.repeat(numbers, np.maximum(sizes - goal, 0))
    taken = np.repeat(numbers, np.maximum(goal - sizes, 0))
    return _Moves(givers=given % workers, takers=taken % workers, shards=taken)


def _places(moves: _Moves) -> Int64:
    """Return where each row that changes its worker lies when each rank has sent its own."""
    places = np.full(len(moves.givers), -1)
    crossing = np.flatnonzero(moves.crosses)
    by_rank = np.argsort(moves.givers[crossing], kind="stable")
    places[crossing[by_rank]] = np.arange(len(crossing))
    return places
