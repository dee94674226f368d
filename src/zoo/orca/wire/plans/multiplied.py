"""The steps over rows of which a transform makes several: each counts as many."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.plan import Plan

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipliedPlan:
    """A plan whose counts are those of the rows that come out of a transform.

    Row numbers, and their steps' ends, are still those of the rows that go in.

    Parameters
    ----------
    given : Plan
        The plan of the rows that go in.
    factor : int
        How many rows come out for each.
    """

    given: Plan
    factor: int

    @property
    def rows(self) -> int:
        """Rows of all workers together."""
        return self.given.rows * self.factor

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each worker, by rank."""
        return tuple(count * self.factor for count in self.given.counts)

    @property
    def batch_size(self) -> int:
        """Rows of one step over all workers together."""
        return self.given.batch_size * self.factor

    @property
    def window(self) -> int | None:
        """Rows of a worker that are in memory together, before the transform."""
        return self.given.window

    @property
    def is_canonical(self) -> bool:
        """Whether the rows of each step are the same for any number of workers."""
        return self.given.is_canonical

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each row is used once."""
        return self.given.steps_per_pass

    @property
    def someone_idles(self) -> bool:
        """Whether some rank may have a step without rows."""
        return self.given.someone_idles

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` takes in a step."""
        return self.given.share(rank, step) * self.factor

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""
        return self.given.fewest(step) * self.factor

    def most(self, rank: int) -> int:
        """Return about the largest share of a rank."""
        return self.given.most(rank) * self.factor

    def is_ragged(self, rank: int) -> bool:
        """Whether a rank's shares differ between many steps."""
        return self.given.is_ragged(rank)

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Yield the numbers of the rows that go in, for one step after another."""
        return self.given.steps(rank, start)

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Yield pieces of passes, with the numbers and the ends of the rows that go in."""
        return self.given.passes(rank, start)
