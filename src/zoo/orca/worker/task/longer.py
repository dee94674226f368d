"""Tells of arrays that a prediction cuts, once a task.

A lazy prediction has no line to the driver, and its child's output is kept for errors alone. So the
task itself says it, in the log of Spark's executor; in local mode that is the program's own output.
"""

import logging
from collections.abc import Sequence

import pyarrow as pa

from zoo.orca.wire.features import ColumnSpec
from zoo.orca.worker.rows.columns import take_apart

_logger = logging.getLogger(__name__)


class Longer:
    """Looks for arrays that are longer than the model's, until it has found some.

    Parameters
    ----------
    columns : sequence of ColumnSpec
        Those of the job, in the order of the batches' columns.
    """

    def __init__(self, columns: Sequence[ColumnSpec]) -> None:
        self._padded = [(place, c) for place, c in enumerate(columns) if c.padding is not None]

    def look_at(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Log a warning if some arrays of these batches will be cut."""
        if not self._padded:
            return
        for batch in batches:
            for place, column in self._padded:
                longest = _longest(batch.column(place), column)
                if longest is not None:
                    self._tell(column, longest)
                    return

    def _tell(self, column: ColumnSpec, longest: tuple[int, int]) -> None:
        keep = column.padding.keep if column.padding is not None else ""
        _logger.warning(
            "column %r has arrays of %d elements, and the model takes %d: predict keeps the %s of "
            "them. Other rows may be longer still; this is said once a task",
            column.name,
            *longest,
            keep,
        )
        self._padded = []


def _longest(array: pa.Array, column: ColumnSpec) -> tuple[int, int] | None:
    """Return the longest length that is too long, and the most that stay; None if none is."""
    for most, lengths in zip(
        column.shape, take_apart(array, len(column.shape)).lengths, strict=True
    ):
        if most is not None and len(lengths) and lengths.max() > most:
            return int(lengths.max()), most
    return None
