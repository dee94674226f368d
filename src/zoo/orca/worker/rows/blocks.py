"""The order of a worker's rows: by their partition, not by their arrival.

An exchange brings a worker one block of rows from each partition, in an order that depends on the
network. The rows of one block keep their order. So the position of each block is enough to give a
worker the same rows in the same order, and the same batches, in every run and retry.
"""

import os

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.worker.rows.files import create


class Blocks:
    """Notes where each block of rows begins, as rows arrive."""

    def __init__(self) -> None:
        self._origins: list[int] = []
        self._starts: list[int] = []
        self._rows = 0

    def add(self, origins: NDArray[np.int32]) -> None:
        """Note the partitions of the next rows."""
        changes = np.flatnonzero(origins[1:] != origins[:-1]) + 1
        for start in (0, *changes.tolist()) if len(origins) else ():
            origin = int(origins[start])
            if not self._origins or self._origins[-1] != origin:
                self._origins.append(origin)
                self._starts.append(self._rows + start)
        self._rows += len(origins)

    def save(self, path: str) -> None:
        """Write the order of the blocks beside the rows' file, unless they arrived in order."""
        if self._origins != sorted(self._origins):
            ends = [*self._starts[1:], self._rows]
            order = np.argsort(self._origins, kind="stable")
            np.save(create(_beside(path)), np.array([self._starts, ends], np.int64)[:, order])


def in_order(batches: list[pa.RecordBatch], path: str) -> list[pa.RecordBatch]:
    """Return the rows of `batches`, from the file at `path`, block by block in order."""
    blocks = _blocks(path)
    if blocks is None:
        return batches
    firsts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    found = []
    for start, end in blocks:
        number = int(np.searchsorted(firsts, start, "right")) - 1
        while start < end:  # a block may span several batches
            stop = min(end, int(firsts[number + 1]))
            found.append(batches[number].slice(start - int(firsts[number]), stop - start))
            start, number = stop, number + 1
    return found


def values_in_order(values: NDArray[np.int64], path: str) -> NDArray[np.int64]:
    """Return one value a row, as they arrived with the file at `path`, block by block in order."""
    blocks = _blocks(path)
    if blocks is None:
        return values
    return np.concatenate([values[:0], *(values[start:end] for start, end in blocks)])


def _blocks(path: str) -> list[tuple[int, int]] | None:
    """Return where blocks begin and end, in their order; None if they arrived in order."""
    if not os.path.exists(_beside(path)):
        return None
    return [(start, end) for start, end in np.load(_beside(path)).T.tolist()]


def _beside(path: str) -> str:
    return f"{path}.blocks.npy"
