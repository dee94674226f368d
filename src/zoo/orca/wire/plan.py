"""Who works on which row in which step: pure arithmetic that every worker does for itself.

Nothing is negotiated. From the rows per worker, the batch size, the seed and the number of the
pass, each rank computes its own share of every step and the order of its own rows, so all ranks
take the same number of steps and no step waits for a rank that has no more.

A *pass* uses each row of the job exactly once. Step `s` of a pass takes the rows from
``s * batch_size`` to ``(s + 1) * batch_size`` of one merged sequence in which each worker's rows
are spread evenly: row `i` of a worker with `c` rows stands at ``(i + 1/2) / c``. So what a
worker has given by the end of a step is its part of all rows to within a row where workers are
equal, and to within half a row for each worker at worst; equal inputs give equal shares. The last
step of a pass may be smaller.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a job over rows that lie on several workers.

    Parameters
    ----------
    counts : tuple of int
        Rows of each worker, by rank; at least one row in all.
    batch_size : int
        Rows of one step over all workers together.
    seed : int
        Fixes every order.
    shuffle : bool
        Whether each pass is a new permutation of each worker's rows, or the rows as they lie.
    """

    counts: tuple[int, ...]
    batch_size: int
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 0 or sum(self.counts) == 0:
            raise ValueError(f"a plan needs at least one row, got counts {self.counts}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def rows(self) -> int:
        """Rows of all workers together."""
        return sum(self.counts)

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each row is used once."""
        return -(-self.rows // self.batch_size)

    def ends(self) -> Int64:
        """Return, for each step of a pass and each rank, the rows used up to the step's end.

        Returns
        -------
        array of shape (steps_per_pass, workers)
        """
        counts = np.asarray(self.counts, np.int64)
        used = np.minimum(np.arange(1, self.steps_per_pass + 1) * self.batch_size, self.rows)
        # The rows at or before the place used / rows, then the few by which that misses `used`.
        ends = (2 * used[:, None] * counts + self.rows) // (2 * self.rows)
        np.minimum(ends, counts, out=ends)
        while (short := used > ends.sum(axis=1)).any():
            place = _places(ends[short] + 0.5, counts)
            place[ends[short] >= counts] = np.inf
            ends[np.flatnonzero(short), place.argmin(axis=1)] += 1
        while (over := used < ends.sum(axis=1)).any():
            place = _places(ends[over] - 0.5, counts)
            place[ends[over] == 0] = -np.inf
            # The last of the equals goes first: the reverse of the order in which they came.
            last = place.shape[1] - 1 - place[:, ::-1].argmax(axis=1)
            ends[np.flatnonzero(over), last] -= 1
        return ends

    def shares(self, rank: int) -> Int64:
        """Return the rows that `rank` takes in each step of a pass; zero is possible."""
        return np.diff(self.ends()[:, rank], prepend=0)

    def order(self, rank: int, pass_index: int) -> Int64:
        """Return the order of `rank`'s rows in one pass, a permutation of its row numbers."""
        count = self.counts[rank]
        if not self.shuffle:
            return np.arange(count, dtype=np.int64)
        source = np.random.SeedSequence([self.seed, rank, pass_index])
        return np.random.Generator(np.random.PCG64(source)).permutation(count)

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Yield `rank`'s row numbers for one step after another, without end, from step `start`.

        Steps are numbered over all passes, so a resumed job goes on with the very next rows.
        """
        for order, ends in self.passes(rank, start):
            yield from np.split(order, ends[:-1])

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Yield, pass by pass from step `start` on, `rank`'s row numbers and its steps' ends.

        The first pair begins at step `start`, in the middle of a pass or not; the ends count from
        the first row of the pair.
        """
        ends = self.ends()[:, rank]
        pass_index, step = divmod(start, self.steps_per_pass)
        while True:
            first = int(ends[step - 1]) if step else 0
            yield self.order(rank, pass_index)[first:], ends[step:] - first
            pass_index, step = pass_index + 1, 0


def global_rows(plan: Plan, start: int, count: int) -> Int64:
    """Return the rows of all ranks together in steps from `start` on, over all passes."""
    steps = np.arange(start, start + count) % plan.steps_per_pass
    return np.minimum(plan.batch_size, plan.rows - steps * plan.batch_size)


def _places(positions: NDArray[np.float64], counts: Int64) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return positions / counts
