"""Steps that nobody knows beforehand: each becomes known when all ranks have told their rows of it.

A user's own loader does not say how many batches it has. So the plan of such data is a record: the
ranks agree on one step after another, and what asks for a plan reads here what they agreed on.
"""

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

#: More steps than any loader has.
ENDLESS = 1 << 40
#: Steps whose rows are remembered for each rank; all that asks does so within the step.
_RECENT = 256


class LivePlan:
    """The steps of a user's loaders, as far as they are known. Implements `Plan`.

    Parameters
    ----------
    rank, workers : int
    batch_size : int
        Rows of one step that the user asked for; a loader may have more or fewer.

    Attributes
    ----------
    expected : int or None
        The steps of a pass, if the loaders tell how many they have.
    is_certain : bool
        Whether they do have so many.
    """

    window = None
    is_canonical = False

    def __init__(self, rank: int, workers: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self.expected: int | None = None
        self.is_certain = False
        self._rank, self._workers = rank, workers
        self._first = 0
        self._of = array("q")
        self._recent: deque[tuple[int, ...]] = deque(maxlen=_RECENT)
        self._counts = [0] * workers
        #: The first steps of passes, the passes' numbers, and the steps that they had before.
        self._passes = [(0, 0, 0)]
        self._counted: Callable[[], tuple[int, int]] | None = None

    def follow(self, counted: Callable[[], tuple[int, int]]) -> None:
        """Learn the steps of a single worker, which agrees with nobody, from what counts them.

        Parameters
        ----------
        counted : callable
            Returns the steps since it was last called, and their rows. It is called when somebody
            asks for steps; so of single steps, only the rows of all of them together are exact.
        """
        self._catch_up()
        self._counted = counted

    def _catch_up(self) -> None:
        if self._counted is None:
            return
        steps, rows = self._counted()
        for number in range(steps):
            if self.expected is not None and self._within() >= self.expected:
                self._end_pass()
            self.note((rows // steps + (number < rows % steps),))

    @property
    def rows(self) -> int:
        """Rows of all workers together so far."""
        self._catch_up()
        return sum(self._counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows of each worker so far, by rank."""
        self._catch_up()
        return tuple(self._counts)

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._workers

    @property
    def steps_per_pass(self) -> int:
        """Steps of a pass; more than any loader has if it is not known."""
        return self.expected or ENDLESS

    @property
    def someone_idles(self) -> bool:
        """Whether some rank may have a step without rows."""
        return self._workers > 1

    @property
    def pass_index(self) -> int:
        """The number of the pass that is under way, or begins next."""
        self._catch_up()
        return self._passes[-1][1]

    def begin(self, step: int, pass_index: int, within: int) -> None:
        """Begin with a step, which is number `within` of a pass."""
        self._catch_up()
        self._first = step
        self._passes = [(step, pass_index, within)]
        self._of = array("q")
        self._recent.clear()

    @property
    def within(self) -> int:
        """Steps of the pass under way that were taken before."""
        self._catch_up()
        return self._within()

    def _within(self) -> int:
        start, _, within = self._passes[-1]
        return self._first + len(self._of) - start + within

    def note(self, shares: Sequence[int]) -> int:
        """Note the rows of each rank in the next step; return their sum."""
        told = tuple(shares)
        for rank, rows in enumerate(told):
            self._counts[rank] += rows
        self._recent.append(told)
        of = sum(told)
        self._of.append(of)
        return of

    def end_pass(self) -> None:
        """Note that the steps so far are all of their pass."""
        self._catch_up()
        self._end_pass()

    def _end_pass(self) -> None:
        self._passes.append((self._first + len(self._of), self._passes[-1][1] + 1, 0))

    def finish_pass(self) -> None:
        """Note that a pass has ended, if one is under way."""
        if self.within:
            self.end_pass()

    def taken(self, start: int) -> int:
        """Return the steps that are known from `start` on."""
        self._catch_up()
        return self._first + len(self._of) - start

    def place(self, step: int) -> dict[str, Any]:
        """Return the position of a step as JSON values."""
        self._catch_up()
        start, index, within = next(one for one in reversed(self._passes) if one[0] <= step)
        return {"pass": index, "step": step - start + within, **self.identity}

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for steps to be found again."""
        return {"created": True, "batch_size": self.batch_size, "workers": self._workers}

    def told(self, start: int, count: int) -> Int64:
        """Return the rows of all ranks together in `count` steps, without those not yet known."""
        self._catch_up()
        first = start - self._first
        return np.array(self._of[max(first, 0) : first + count], np.int64)

    def share(self, rank: int, step: int) -> int:
        """Return the number of rows that `rank` has in a step that has just been agreed on."""
        return self._shares(step)[rank]

    def fewest(self, step: int) -> int:
        """Return the smallest share of a step."""
        return min(self._shares(step))

    def _shares(self, step: int) -> tuple[int, ...]:
        self._catch_up()
        behind = len(self._of) - (step - self._first)
        return self._recent[-behind]

    def most(self, rank: int) -> int:
        """Return about the largest share of a rank."""
        return -(-self.batch_size // self._workers)

    def is_ragged(self, rank: int) -> bool:
        """Whether a rank's shares differ between many steps: they may."""
        return True

    def steps(self, rank: int, start: int = 0) -> Iterator[Int64]:
        """Raise: rows of a loader have no numbers."""
        raise TypeError("the rows of a creator have no numbers")

    def passes(self, rank: int, start: int = 0) -> Iterator[tuple[Int64, Int64]]:
        """Raise: rows of a loader have no numbers."""
        raise TypeError("the rows of a creator have no numbers")


def share_of(batch_size: int, rank: int, size: int) -> int:
    """Return a worker's share of a global batch: as equal as they can be, the first ones more."""
    return batch_size // size + (rank < batch_size % size)
