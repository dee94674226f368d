"""The steps over rows that lie on workers as it happens: each rank computes its share for itself.

Nothing is negotiated. Each rank computes its share of every step and the order of its rows from the
rows per worker, the batch size, the seed and the number of the pass. So all ranks take the same
number of steps, and no step waits for a rank that has no more rows.

A *pass* uses each row of the job exactly once. Step `s` of a pass takes the rows from
``s * batch_size`` to ``(s + 1) * batch_size`` of one merged sequence. Each worker's rows are spread
evenly in it: row `i` of a worker with `c` rows stands at ``(i + 1/2) / c``. By the end of each step
a worker has given its proportional part, to within one row if workers are equal, and to within half
a row for each worker at worst. Equal inputs give equal shares. The last step of a pass may be
smaller.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.order import by_windows, in_sequence, permutation

Int64 = NDArray[np.int64]

#: Entries of the table of steps and ranks to compute at a time; they fit into a cache.
_TABLE_ENTRIES = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPlan:
    """The steps of a job over the rows of several workers.

    Parameters
    ----------
    counts : tuple of int
        Rows of each worker, by rank; at least one row in all.
    batch_size : int
        Rows of one step over all workers together.
    seed : int
        Fixes every order.
    shuffle : bool
        Whether each pass permutes each worker's rows anew; else it takes them in sequence.
    window : int or None
        Rows of a worker that fit into memory; None means any number. A worker with more rows takes
        them in the two-level order of `zoo.orca.wire.plans.order`.
    """

    counts: tuple[int, ...]
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    window: int | None = None

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 0 or sum(self.counts) == 0:
            raise ValueError(f"a plan needs at least one row, got counts {self.counts}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.window is not None and self.window < 1:
            raise ValueError(f"a window has at least one row, got {self.window}")

    @property
    def rows(self) -> int:
        """Rows of all workers together."""
        return sum(self.counts)

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each row is used once."""
        return -(-self.rows // self.batch_size)

    @property
    def is_canonical(self) -> bool:
        """False: a rank's order depends on how many rows it has."""
        return False

    @property
    def someone_idles(self) -> bool:
        """Whether some rank has a step without rows."""
        return len(self.counts) > 1 and not _fewest(self.counts, self.batch_size).all()

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` takes in a step; it may be zero."""
        ends, place = _ends_of(self.counts, self.batch_size, rank), step % self.steps_per_pass
        return int(ends[place]) - (int(ends[place - 1]) if place else 0)

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""
        return int(_fewest(self.counts, self.batch_size)[step % self.steps_per_pass])

    def most(self, rank: int) -> int:
        """Return the largest share of a rank."""
        return int(self.shares(rank).max())

    def is_ragged(self, rank: int) -> bool:
        """Whether a rank's shares differ between steps, apart from a pass's last one."""
        shares = self.shares(rank)
        return bool((shares[:-1] != shares[0]).any() or shares.min() == 0)

    def ends(self) -> Int64:
        """Return the number of rows used by the end of each step of a pass, for each rank.

        Returns
        -------
        array of shape (steps_per_pass, workers)
        """
        return np.concatenate(list(_tables(self.counts, self.batch_size)))

    def shares(self, rank: int) -> Int64:
        """Return the number of rows that `rank` takes in each step of a pass; it may be zero."""
        return np.diff(_ends_of(self.counts, self.batch_size, rank), prepend=0)

    def order(self, rank: int, pass_index: int) -> Int64:
        """Return the order of `rank`'s rows in one pass, a permutation of its row numbers."""
        return np.concatenate([np.empty(0, np.int64), *self._rows(rank, pass_index, 0)])

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Yield `rank`'s row numbers for one step after another, without end, from step `start`.

        Steps are numbered over all passes, so a resumed job continues with the very next rows.
        """
        for order, ends in self.passes(rank, start):
            yield from np.split(order, ends[:-1])

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Yield pieces of passes from step `start` on: `rank`'s row numbers and its steps' ends.

        A piece is one or more whole steps of one pass; its ends count from its own first row. The
        first piece begins at step `start`, which may be within a pass. If the worker's rows fit
        into memory, a piece is the rest of the pass; else it is as short as steps allow.
        """
        ends = _ends_of(self.counts, self.batch_size, rank)
        pass_index, step = divmod(start, self.steps_per_pass)
        while True:
            first = int(ends[step - 1]) if step else 0
            yield from _whole_steps(self._rows(rank, pass_index, first), ends[step:] - first)
            pass_index, step = pass_index + 1, 0

    def _rows(self, rank: int, pass_index: int, start: int) -> Iterator[Int64]:
        """Yield `rank`'s row numbers from place `start` of a pass on, all at once if possible."""
        count, key = self.counts[rank], (self.seed, rank, pass_index)
        if self.window is None or count <= self.window:
            whole = permutation(count, key) if self.shuffle else np.arange(count, dtype=np.int64)
            yield whole[start:]
        elif self.shuffle:
            yield from by_windows(count, self.window, key, start)
        else:
            yield from in_sequence(count, start)


def _whole_steps(rows: Iterator[Int64], ends: Int64) -> Iterator[tuple[Int64, Int64]]:
    """Cut portions of rows where steps end; hold back the rows of an unfinished step."""
    held: list[Int64] = []
    step = before = reached = 0
    for portion in rows:
        held.append(portion)
        reached += len(portion)
        stop = int(np.searchsorted(ends, reached, "right"))
        if stop > step:
            together = held[0] if len(held) == 1 else np.concatenate(held)
            size = int(ends[stop - 1]) - before
            yield together[:size], ends[step:stop] - before
            held, before, step = [together[size:]], before + size, stop
    if step < len(ends):  # this rank has no rows left for these steps
        yield np.empty(0, np.int64), ends[step:] - before


@functools.lru_cache(maxsize=4)
def _ends_of(counts: tuple[int, ...], batch_size: int, rank: int) -> Int64:
    """Return one rank's column of `Plan.ends`; cached, because each data set needs it often."""
    ends = np.concatenate([table[:, rank] for table in _tables(counts, batch_size)])
    ends.flags.writeable = False
    return ends


@functools.lru_cache(maxsize=4)
def _fewest(counts: tuple[int, ...], batch_size: int) -> Int64:
    """Return the smallest share of each step of a pass."""
    ends = np.concatenate(list(_tables(counts, batch_size)))
    fewest: Int64 = np.diff(ends, axis=0, prepend=0).min(axis=1)
    return fewest


def _tables(counts: tuple[int, ...], batch_size: int) -> Iterator[Int64]:
    """Yield the table of `Plan.ends`, some steps at a time."""
    rows, at_once = sum(counts), max(1, _TABLE_ENTRIES // len(counts)) * batch_size
    for first in range(0, rows, at_once):
        used = np.arange(first, min(first + at_once, rows), batch_size) + batch_size
        yield _table(np.asarray(counts, np.int64), np.minimum(used, rows), rows)


def _table(counts: Int64, used: Int64, rows: int) -> Int64:
    """Return the number of each rank's rows among the first `used` of all."""
    if (counts == counts[0]).all():  # the ranks take turns
        turns: Int64 = (used[:, None] + np.arange(len(counts))[::-1]) // len(counts)
        return turns
    # First count the rows at or before the place used / rows, then correct to exactly `used`.
    ends: Int64 = (2 * used[:, None] * counts + rows) // (2 * rows)
    np.minimum(ends, counts, out=ends)
    missing = used - ends.sum(axis=1)
    _give(ends, counts, missing)
    _take(ends, counts, -missing)
    return ends


def _give(ends: Int64, counts: Int64, missing: Int64) -> None:
    """Add to each step the `missing` rows that come next."""
    steps = np.flatnonzero(missing > 0)
    place = _places(ends[steps] + 0.5, counts)
    place[ends[steps] >= counts] = np.inf
    while len(steps):
        rank = place.argmin(axis=1)
        ends[steps, rank] += 1
        missing[steps] -= 1
        now, of = ends[steps, rank], counts[rank]
        place[np.arange(len(steps)), rank] = np.where(now < of, (now + 0.5) / of, np.inf)
        more = missing[steps] > 0
        steps, place = steps[more], place[more]


def _take(ends: Int64, counts: Int64, over: Int64) -> None:
    """Take from each step the rows that came last, `over` of them."""
    steps = np.flatnonzero(over > 0)
    place = _places(ends[steps] - 0.5, counts)
    place[ends[steps] == 0] = -np.inf
    while len(steps):
        # Of equal places the last goes first, which reverses the order of `_give`.
        rank = len(counts) - 1 - place[:, ::-1].argmax(axis=1)
        ends[steps, rank] -= 1
        over[steps] -= 1
        now = ends[steps, rank]
        place[np.arange(len(steps)), rank] = np.where(now > 0, (now - 0.5) / counts[rank], -np.inf)
        more = over[steps] > 0
        steps, place = steps[more], place[more]


def _places(positions: NDArray[np.floating[Any]], counts: Int64) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return positions / counts
