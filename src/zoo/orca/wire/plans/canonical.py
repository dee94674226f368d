"""One order of rows for any number of workers: each rank computes its part for itself.

The exchange puts the rows of a job into one sequence, by a hash of the seed and of what is in each
row (`zoo.orca.driver.frame.sequence`). So the sequence is as good as drawn at random, and depends
neither on the workers nor on how the DataFrame was partitioned.

The sequence is cut into as many *shards* as a batch has rows. Of ``n`` rows and ``c`` shards, each
shard has `q` rows or one more, where ``q, r = divmod(n, c)``; the `r` larger shards lie evenly
among the others. A worker holds a run of shards.

A full step takes one row of each shard. So the rows of a step do not depend on the workers, and
whoever holds the n-th part of the shards has the n-th part of every full step, to within one row.

Within a shard, each pass takes the rows in another order. One permutation serves all shards of one
size. Each shard begins at another place of it, so two rows of two shards meet with the same chance
as under a permutation of all rows.

The last full step and the step of the remaining `r` rows are drawn together. Otherwise the rows of
the same shards would always be in the smaller step, and would weigh more than the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPlan:
    """The steps of a job whose rows are in one sequence.

    Row numbers count a worker's rows in the order of the sequence, unless `places` says where each
    of these lies.

    Parameters
    ----------
    rows : int
        Rows of all workers together; at least one.
    workers : int
        Each holds a run of shards, by rank, as `first_shard` says.
    batch_size : int
        Rows of one step over all workers together, and the number of shards.
    seed : int
        Fixes every order.
    shuffle : bool
        Whether each pass permutes the rows of the shards anew; else it takes them in sequence.
    places : array, optional
        Of the one rank that asks: where its rows lie.
    """

    rows: int
    workers: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    places: Int64 | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ValueError(f"a plan needs at least one row, got {self.rows}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each row is used once."""
        return -(-self.rows // self.batch_size)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each worker, by rank."""
        firsts = [
            first_row(self.rows, self.batch_size, first_shard(rank, self.batch_size, self.workers))
            for rank in range(self.workers + 1)
        ]
        return tuple(stop - start for start, stop in pairwise(firsts))

    @property
    def window(self) -> None:
        """None: all rows are in memory."""
        return None

    @property
    def is_canonical(self) -> bool:
        """True: the rows of each step are the same for any number of workers."""
        return True

    @property
    def someone_idles(self) -> bool:
        """Whether some rank may have a step without rows."""
        if self.workers == 1:
            return False
        each, more = divmod(self.rows, self.batch_size)
        held = self.batch_size // self.workers
        # Of the last two steps, shares differ by one from pass to pass.
        full = held - 1 if more else held
        return bool((each and full < 1) or (more and held * more // self.batch_size < 1))

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` takes in a step; it may be zero."""
        each, more = divmod(self.rows, self.batch_size)
        if not more or step % self.steps_per_pass < each - 1:
            start, stop = self._run(rank)
            return stop - start
        return int(self._shares(step)[rank])

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""
        return int(self._shares(step).min())

    def most(self, rank: int) -> int:
        """Return the share of a rank of full steps, which that of the last one may exceed."""
        start, stop = self._run(rank)
        return max(stop - start, 1)

    def is_ragged(self, rank: int) -> bool:
        """Return False: a rank's shares are equal, apart from a pass's last two steps."""
        return False

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Yield `rank`'s row numbers for one step after another, without end, from step `start`."""
        for order, ends in self.passes(rank, start):
            yield from np.split(order, ends[:-1])

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Yield the rest of each pass from step `start` on: `rank`'s row numbers and steps' ends.

        A step's rows are in the order of their shards.
        """
        number, step = divmod(start, self.steps_per_pass)
        while True:
            order, ends = self._one_pass(rank, number)
            order = order if self.places is None else self.places[order]
            first = int(ends[step - 1]) if step else 0
            yield order[first:], ends[step:] - first
            number, step = number + 1, 0

    def _run(self, rank: int) -> tuple[int, int]:
        """Return the shards of a rank: the first, and the first of the next rank."""
        shards, workers = self.batch_size, self.workers
        return first_shard(rank, shards, workers), first_shard(rank + 1, shards, workers)

    def _shares(self, step: int) -> Int64:
        """Return the number of rows of each rank in a step."""
        number, place = divmod(step, self.steps_per_pass)
        each, more = divmod(self.rows, self.batch_size)
        edges = self.batch_size * np.arange(self.workers + 1) // self.workers
        full: Int64 = np.diff(edges)
        if not more or place < each - 1:
            return full
        larger: Int64 = np.diff(_larger(edges, more, self.batch_size))
        if not each:
            return larger
        turn = self._turn(self._generator(number))
        rest: Int64 = np.diff(_larger(edges + turn, more, self.batch_size))
        return rest if place == each else full + larger - rest

    def of_shards(self, start: int, stop: int, number: int) -> tuple[Int64, Int64]:
        """Return a pass's rows of some shards, from `start` to before `stop`, and steps' ends.

        Rows are numbered over all shards.
        """
        each, more = divmod(self.rows, self.batch_size)
        drawn = self._draw(number)
        edges = np.arange(start, stop + 1)
        mine = edges[:-1]
        firsts = first_row(self.rows, self.batch_size, edges)
        is_larger = np.diff(firsts) > each
        begins = drawn.begins[mine]
        # Row by row of this table: the slots, that is steps, of the pass.
        table = np.empty((each + 1, len(mine)), np.int64)
        table[:, is_larger] = (drawn.of_larger[:, None] + begins[is_larger]) % (each + 1)
        if each:
            table[:each, ~is_larger] = (drawn.of_others[:, None] + begins[~is_larger]) % each
        table += firsts[:-1]
        regular = max(each - 1, 0) if more else each
        in_rest = np.diff(_larger(edges + drawn.turn, more, self.batch_size)) > 0
        last = _last_steps(table, is_larger, in_rest) if more else ()
        order = np.concatenate([table[:regular].reshape(-1), *last])
        sizes = [len(mine)] * regular + [len(part) for part in last]
        return order, np.cumsum(sizes, dtype=np.int64)

    def _one_pass(self, rank: int, number: int) -> tuple[Int64, Int64]:
        """Return the rows of a pass, numbered on this rank, and where each step ends in them."""
        start, stop = self._run(rank)
        order, ends = self.of_shards(start, stop, number)
        return order - first_row(self.rows, self.batch_size, start), ends

    def _draw(self, number: int) -> "_Drawn":
        each = self.rows // self.batch_size
        if not self.shuffle:
            slots, begins = np.arange(each + 1), np.zeros(self.batch_size, np.int64)
            return _Drawn(0, slots, slots[:each], begins)
        generator = self._generator(number)
        turn = self._turn(generator)
        sizes = np.diff(first_row(self.rows, self.batch_size, np.arange(self.batch_size + 1)))
        return _Drawn(
            turn,
            generator.permutation(each + 1),
            generator.permutation(each),
            generator.integers(0, np.maximum(sizes, 1)),
        )

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, number]))

    def _turn(self, generator: np.random.Generator) -> int:
        """Return by how many shards those of the smaller step are turned; a pass's first draw."""
        return int(generator.integers(0, self.batch_size)) if self.shuffle else 0


class _Drawn(NamedTuple):
    """What is drawn for a pass, on all ranks alike.

    Parameters
    ----------
    turn : int
        By how many shards the shards of the smaller step are turned against the larger shards.
    of_larger, of_others : array
        The order of the rows of a shard with one row more, and of the others.
    begins : array of shape (shards,)
        Where in that order each shard begins.
    """

    turn: int
    of_larger: Int64
    of_others: Int64
    begins: Int64


def first_shard(rank: int, shards: int, workers: int) -> int:
    """Return the first shard of a rank; for ``rank == workers``, the number of shards."""
    return shards * rank // workers


@overload
def first_row(rows: int, shards: int, shard: int) -> int: ...
@overload
def first_row(rows: int, shards: int, shard: Int64) -> Int64: ...
def first_row(rows: int, shards: int, shard: int | Int64) -> int | Int64:
    """Return where in the sequence a shard begins."""
    each, more = divmod(rows, shards)
    return each * shard + _larger(shard, more, shards)


@overload
def _larger(shard: int, more: int, shards: int) -> int: ...
@overload
def _larger(shard: Int64, more: int, shards: int) -> Int64: ...
def _larger(shard: int | Int64, more: int, shards: int) -> int | Int64:
    """Return how many of the shards before `shard` are among `more` that lie evenly in all.

    Shards may be counted on beyond the last one, which the first one follows.
    """
    return shard * more // shards


def _last_steps(
    table: Int64, is_larger: NDArray[np.bool_], in_rest: NDArray[np.bool_]
) -> tuple[Int64, ...]:
    """Return a rank's rows of the last full step, if there is one, and of the smaller step."""
    if len(table) == 1:
        return (table[0, is_larger],)
    # The last two slots of each shard, beside one another, in the order of shards.
    pool = table[-2:].T
    rest = np.zeros(pool.shape, bool)
    rest[:, 1] = in_rest & is_larger
    rest[:, 0] = in_rest & ~is_larger
    full = ~rest
    full[~is_larger, 1] = False  # these shards have no such slot
    return pool[full], pool[rest]
