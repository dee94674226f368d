"""One order of rows for any number of workers: each rank computes its part for itself.

The rows of a job are dealt to as many *shards* as a batch has rows. The deal is a function of the
seed and of each row's place in the DataFrame, not of the workers. All shards have the same number
of rows, `q`, or one more: of ``n`` rows and ``c`` shards, ``q, r = divmod(n, c)``, and the first
`r` shards have the one more.

A full step takes one row of each shard. So the rows of a step do not depend on the workers, and
whoever holds every n-th shard has the n-th part of every full step, to within one row.

Within a shard, each pass takes the rows in another order. One permutation serves all shards. Each
shard begins at another place of it, so two rows of two shards meet with the same chance as under a
permutation of all rows.

The last full step and the step of the remaining `r` rows are drawn together. Otherwise the rows of
the first shards alone would be in the smaller step, and would weigh more than the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

#: Numbers with many divisors.
_ROUND = (1, 2, 4, 6, 12, 24, 60, 120, 360, 840, 2520)
#: The remaining rows are at least so many times the distance of two shards where they may begin.
_SMOOTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CanonicalPlan:
    """The steps of a job whose rows were dealt to shards.

    Row numbers count a worker's rows shard by shard, first all rows of its first shard, unless
    `places` says where each of these lies.

    Parameters
    ----------
    rows : int
        Rows of all workers together; at least one.
    workers : int
        Worker `w` holds the shards ``w``, ``w + workers``, ``w + 2 * workers``, and so on.
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
        sizes = shard_sizes(self.rows, self.batch_size)
        return tuple(int(sizes[rank :: self.workers].sum()) for rank in range(self.workers))

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
        each, more = divmod(self.rows, self.batch_size)
        if self.workers == 1:
            return False
        # The shares of the last two steps differ from pass to pass, by two rows at most.
        full = self.batch_size // self.workers - (2 if more else 0)
        return bool((each and full < 1) or (more and more // self.workers - 1 < 1))

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` takes in a step; it may be zero."""
        return int(self._shares(step)[rank])

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""
        return int(self._shares(step).min())

    def most(self, rank: int) -> int:
        """Return the share of a rank of full steps, which that of the last one may exceed."""
        return max(-(-(self.batch_size - rank) // self.workers), 1)

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

    def _shares(self, step: int) -> Int64:
        """Return the number of rows of each rank in a step."""
        number, place = divmod(step, self.steps_per_pass)
        each, more = divmod(self.rows, self.batch_size)
        full = self._of_shards(0, self.batch_size)
        if not more or place < each - 1:
            return full
        if not each:
            return self._of_shards(0, more)
        begin = self._remainder(self._generator(number))
        rest = self._of_shards(begin, min(begin + more, self.batch_size))
        rest += self._of_shards(0, max(begin + more - self.batch_size, 0))
        return rest if place == each else full + self._of_shards(0, more) - rest

    def _of_shards(self, start: int, stop: int) -> Int64:
        """Return how many of the shards from `start` to `stop` each rank holds."""
        ranks = np.arange(self.workers)
        return (stop - ranks - 1) // self.workers - (start - ranks - 1) // self.workers

    def _one_pass(self, rank: int, number: int) -> tuple[Int64, Int64]:
        each, more = divmod(self.rows, self.batch_size)
        drawn = self._draw(number)
        mine = np.arange(rank, self.batch_size, self.workers)
        larger = int(np.searchsorted(mine, more))  # so many of this rank's shards have one row more
        first = each * np.arange(len(mine)) + np.minimum(np.arange(len(mine)), larger)
        begins = drawn.begins[mine]
        # Row by row of this table: the slots, that is steps, of the pass.
        table = np.empty((each + 1, len(mine)), np.int64)
        table[:, :larger] = (drawn.of_larger[:, None] + begins[:larger]) % (each + 1)
        if each:
            table[:each, larger:] = (drawn.of_others[:, None] + begins[larger:]) % each
        table += first
        regular = max(each - 1, 0) if more else each
        last = self._last_steps(table, mine, larger, drawn.remainder) if more else ()
        order = np.concatenate([table[:regular].reshape(-1), *last])
        sizes = [len(mine)] * regular + [len(part) for part in last]
        return order, np.cumsum(sizes, dtype=np.int64)

    def _last_steps(
        self, table: Int64, mine: Int64, larger: int, remainder: int
    ) -> tuple[Int64, ...]:
        """Return this rank's rows of the last full step, if there is one, and of the rest."""
        each, more = divmod(self.rows, self.batch_size)
        if not each:
            return (table[0, :larger],)
        in_rest = (mine - remainder) % self.batch_size < more
        # The slots each - 1 and each of each shard, beside one another, in the order of shards.
        pool = table[each - 1 :].T
        rest = np.zeros(pool.shape, bool)
        rest[:larger, 1] = in_rest[:larger]
        rest[larger:, 0] = in_rest[larger:]
        full = ~rest
        full[larger:, 1] = False  # these shards have no such slot
        return pool[full], pool[rest]

    def _draw(self, number: int) -> "_Drawn":
        each = self.rows // self.batch_size
        if not self.shuffle:
            slots, begins = np.arange(each + 1), np.zeros(self.batch_size, np.int64)
            return _Drawn(0, slots, slots[:each], begins)
        generator = self._generator(number)
        sizes = np.maximum(shard_sizes(self.rows, self.batch_size), 1)
        return _Drawn(
            self._remainder(generator),
            generator.permutation(each + 1),
            generator.permutation(each),
            generator.integers(0, sizes),
        )

    def _generator(self, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, number]))

    def _remainder(self, generator: np.random.Generator) -> int:
        """Return the shard at which the smaller step begins; drawn first from a pass's generator.

        A number with many divisors gives workers, if there are few, equal parts.
        """
        if not self.shuffle:
            return 0
        more = self.rows % self.batch_size
        unit = max(one for one in _ROUND if one <= max(more // _SMOOTH, 1))
        return unit * int(generator.integers(0, -(-self.batch_size // unit)))


class _Drawn(NamedTuple):
    """What is drawn for a pass, on all ranks alike.

    Parameters
    ----------
    remainder : int
        The shard at which the rows of the smaller step begin.
    of_larger, of_others : array
        The order of the rows of a shard with one row more, and of the others.
    begins : array of shape (shards,)
        Where in that order each shard begins.
    """

    remainder: int
    of_larger: Int64
    of_others: Int64
    begins: Int64


def shard_sizes(rows: int, shards: int) -> Int64:
    """Return the number of rows of each shard after they are levelled."""
    each, more = divmod(rows, shards)
    return each + (np.arange(shards) < more)
