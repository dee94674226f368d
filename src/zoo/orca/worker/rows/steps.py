"""Steps in the plan's order, gathered a few at a time from columns that may be mapped files.

A framework's loop takes one step after another, and gathering each one alone would cost more than
many a step. So rows are gathered for several steps at once, as one array per column of the shape
(steps, rows of a step, *row shape). A step is a slice of it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.plans.plan import Plan, global_rows
from zoo.orca.worker.rows.transform import TransformedColumns

Int64 = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]

#: Enough steps that gathering costs little for each; few enough to be ready in time.
_CHUNK_STEPS = 64
#: A part of a processor's cache, because chunks are written once and read once.
_CHUNK_BYTES = 4 << 20


class Chunk(NamedTuple):
    """Some consecutive steps of one rank.

    Parameters
    ----------
    arrays : dict of str to array of shape (steps, most, *row shape)
    rows : array of shape (steps,)
        This rank's rows of each step. If a step has fewer than `most`, some row fills up the array.
        A step without rows still has one row, which does not count.
    of : array of shape (steps,)
        All ranks' rows of each step.
    """

    arrays: dict[str, NDArray[Any]]
    rows: Int64
    of: Int64


class Steps:
    """The steps of one rank.

    Parameters
    ----------
    plan : Plan
    rank : int
    columns : dict of str to array
        This rank's rows; at least one, even if it is a placeholder. Or `TransformedColumns`.
    shape : callable
        Turns gathered columns into the model's arrays, row by row.

    Attributes
    ----------
    is_ragged : bool
        Whether this rank's rows differ between many steps.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        columns: Arrays,
        shape: Callable[[Arrays], dict[str, NDArray[Any]]],
    ) -> None:
        self._plan, self._rank = plan, rank
        self._columns, self._shape = columns, shape
        self._factor = columns.made.factor if isinstance(columns, TransformedColumns) else 1
        self.is_ragged = plan.is_ragged(rank)
        row_bytes = sum(values[:1].nbytes for values in columns.values())
        most = max(plan.most(rank), 1)
        self._longest = min(max(_CHUNK_BYTES // max(row_bytes * most, 1), 1), _CHUNK_STEPS)
        self._position = -1
        self._pieces: Iterator[tuple[Int64, Int64]] = iter(())
        self._order = self._ends = np.empty(0, np.int64)

    def sample(self) -> dict[str, NDArray[Any]]:
        """Return the first two rows, or fewer, in their final shapes."""
        return self._shape({name: values[:2] for name, values in self._columns.items()})

    def take(self, start: int, count: int) -> Iterator[Chunk]:
        """Yield `count` steps from `start` on, as chunks that lie within one pass."""
        if start != self._position:
            self._position = start
            self._pieces = self._plan.passes(self._rank, start)
            self._order = self._ends = np.empty(0, np.int64)
        while count:
            if not len(self._ends):
                self._order, self._ends = next(self._pieces)
            steps = self._next_steps(min(count, len(self._ends), self._longest))
            end = int(self._ends[steps - 1])
            rows = np.diff(self._ends[:steps], prepend=0)
            of = global_rows(self._plan, self._position, steps)
            order, first = self._order[:end], self._position
            self._order, self._ends = self._order[end:], self._ends[steps:] - end
            self._position += steps
            count -= steps
            yield Chunk(self._gather(order, rows, first), rows * self._factor, of)

    def _next_steps(self, most: int) -> int:
        """Return how many steps may share a chunk; if not ragged, steps of equal row counts."""
        if self.is_ragged:
            return most
        rows = np.diff(self._ends[:most], prepend=0)
        differs = np.flatnonzero(rows != rows[0])
        return int(differs[0]) if len(differs) else most

    def _gather(self, order: Int64, rows: Int64, first: int) -> dict[str, NDArray[Any]]:
        steps, most = len(rows), max(int(rows.max()), 1)
        if isinstance(self._columns, TransformedColumns):
            taken = self._columns.gather(np.split(order, np.cumsum(rows)[:-1]), first)
            most *= self._factor
        else:
            if len(order) != steps * most:
                filled = np.zeros((steps, most), np.int64)
                filled[np.arange(most) < rows[:, None]] = order
                order = filled.reshape(-1)
            taken = {name: np.take(v, order, axis=0) for name, v in self._columns.items()}
        return {
            name: values.reshape(steps, most, *values.shape[1:])
            for name, values in self._shape(taken).items()
        }
