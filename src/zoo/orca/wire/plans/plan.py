"""What every plan of steps tells; a rank computes it for itself, and nothing is negotiated.

A *pass* uses each row of the job exactly once. Steps are numbered over all passes, so a resumed job
continues with the very next rows.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.live import LivePlan

Int64 = NDArray[np.int64]


class Plan(Protocol):
    """The steps of a job over the rows of several workers."""

    @property
    def rows(self) -> int:
        """Rows of all workers together."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each worker, by rank."""

    @property
    def batch_size(self) -> int:
        """Rows of one step over all workers together; the last step of a pass may be smaller."""

    @property
    def window(self) -> int | None:
        """Rows of a worker that are in memory together; None for all."""

    @property
    def is_canonical(self) -> bool:
        """Whether the rows of each step are the same for any number of workers."""

    @property
    def steps_per_pass(self) -> int:
        """Steps in which each row is used once."""

    @property
    def someone_idles(self) -> bool:
        """Whether some rank may have a step without rows."""

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` takes in a step; it may be zero."""

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""

    def most(self, rank: int) -> int:
        """Return about the largest share of a rank."""

    def is_ragged(self, rank: int) -> bool:
        """Whether a rank's shares differ between many steps."""

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Yield `rank`'s row numbers for one step after another, without end, from step `start`."""

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Yield pieces of passes from step `start` on: `rank`'s row numbers and its steps' ends.

        A piece is one or more whole steps of one pass; its ends count from its own first row.
        """


def global_rows(plan: Plan, start: int, count: int) -> Int64:
    """Return the rows of all ranks together for `count` steps from `start` on, over all passes."""
    if isinstance(plan, LivePlan):
        return plan.told(start, count)
    steps = np.arange(start, start + count) % plan.steps_per_pass
    return np.minimum(plan.batch_size, plan.rows - steps * plan.batch_size)
