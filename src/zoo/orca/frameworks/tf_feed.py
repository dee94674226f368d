"""Rows as a `tf.data.Dataset` of steps in the plan's order.

Python hands over whole passes: the order of rows and where steps end. Splitting into steps and
gathering rows run in TensorFlow's own threads, ahead of the training, so no Python runs per step.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from zoo.orca.wire.plan import Plan

Int64 = NDArray[np.int64]
_AHEAD = 8


class Counted(NamedTuple):
    """One step's batch on one of several workers.

    `rows` are this rank's rows of the step and all ranks' rows. This rank's are 0 where the batch
    is a single row that stands for none: every worker takes part in every step.
    """

    # Two fields: Keras 2 takes any tuple of three for inputs, labels and weights.
    data: Any
    rows: tuple[Any, Any]


class Blocks:
    """The steps of one rank, in blocks that lie within one pass.

    Parameters
    ----------
    plan : Plan
    rank : int
    """

    def __init__(self, plan: Plan, rank: int) -> None:
        self._plan, self._rank = plan, rank
        self._position = -1
        self._passes: Iterator[tuple[Int64, Int64]] = iter(())
        self._order = self._ends = np.empty(0, np.int64)

    def take(self, start: int, count: int) -> Iterator[tuple[Int64, Int64, Int64, Int64]]:
        """Yield the steps from `start` on: rows' numbers, steps' ends, own and all ranks' rows.

        A step without rows of this rank has one row, the first, that counts as none.
        """
        if start != self._position:
            self._position = start
            self._passes = self._plan.passes(self._rank, start)
            self._order = self._ends = np.empty(0, np.int64)
        while count:
            if not len(self._ends):
                self._order, self._ends = next(self._passes)
            steps = min(count, len(self._ends))
            end = int(self._ends[steps - 1])
            order, ends = self._order[:end], self._ends[:steps]
            self._order, self._ends = self._order[end:], self._ends[steps:] - end
            yield *_filled(order, ends), global_rows(self._plan, self._position, steps)
            self._position += steps
            count -= steps


def _filled(order: Int64, ends: Int64) -> tuple[Int64, Int64, Int64]:
    """Return order, ends and rows of steps, with one row put into each step that has none."""
    rows = np.diff(ends, prepend=0)
    empty = rows == 0
    if empty.any():
        order = np.insert(order, ends[empty], 0)
        ends = ends + np.cumsum(empty)
    return order, ends, rows


def global_rows(plan: Plan, start: int, count: int) -> Int64:
    """Return the rows of all ranks together in steps from `start` on."""
    steps = np.arange(start, start + count) % plan.steps_per_pass
    return np.minimum(plan.batch_size, plan.rows - steps * plan.batch_size)


def tensors_of(columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return columns as tensors on the CPU; a rank without rows gets one row of zeros."""
    with tf.device("CPU:0"):
        return {name: tf.convert_to_tensor(_some(values)) for name, values in columns.items()}


def _some(values: NDArray[Any]) -> NDArray[Any]:
    if len(values):
        return values
    empty: Any = b"" if values.dtype == object else 0
    return np.full((1, *values.shape[1:]), empty, values.dtype)


class Feed:
    """Data sets of steps over one rank's rows.

    Parameters
    ----------
    plan : Plan
    rank : int
    columns : dict of str to array
        The rows, in the shapes in which the model takes them.
    pack : callable
        Puts a batch's tensors, by column name, into Keras's structure.
    counted : bool
        Whether batches come as `Counted`.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        columns: dict[str, NDArray[Any]],
        pack: Callable[[dict[str, Any]], Any],
        *,
        counted: bool,
    ) -> None:
        self._blocks = Blocks(plan, rank)
        self._tensors = tensors_of(columns)
        self._pack = pack
        self._counted = counted

    def sample(self) -> Any:
        """Return a batch of the first two rows, or of what there is."""
        return self._pack({name: values[:2] for name, values in self._tensors.items()})

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return a data set of `count` steps; `start` is asked whenever it is begun."""
        index = tf.TensorSpec((None,), tf.int64)
        blocks = tf.data.Dataset.from_generator(
            lambda: self._blocks.take(start(), count), output_signature=(index,) * 4
        )
        steps = blocks.flat_map(self._split)
        return steps.apply(tf.data.experimental.assert_cardinality(count)).prefetch(_AHEAD)

    def _split(self, order: Any, ends: Any, rows: Any, of: Any) -> Any:
        starts = tf.concat([[tf.constant(0, tf.int64)], ends[:-1]], 0)

        def batch(first: Any, end: Any, rows: Any, of: Any) -> Any:
            numbers = order[first:end]
            found = {name: tf.gather(values, numbers) for name, values in self._tensors.items()}
            data = self._pack(found)
            return Counted(data, (rows, of)) if self._counted else data

        return tf.data.Dataset.from_tensor_slices((starts, ends, rows, of)).map(batch)
