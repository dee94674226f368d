"""Brings a worker's rows into their sequence, after they are spooled.

`zoo.orca.driver.frame.sequence` says what the sequence is. Rows are sorted by their places, then
those at the ends of a worker's part move (`zoo.orca.worker.rows.levelling`).
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.rows.blocks import values_in_order
from zoo.orca.worker.rows.files import private
from zoo.orca.worker.rows.levelling import RankRows, level

Int64 = NDArray[np.int64]


class PlaceFile:
    """Writes the place of each row beside the rows' file, as rows arrive."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pieces: list[Int64] = []

    def add(self, places: Int64) -> None:
        """Note the places of the next rows."""
        self._pieces.append(places)
        if len(self._pieces) >= _MOST_PIECES:
            self.close()

    def close(self) -> None:
        """Write what is held; rows without places leave no file."""
        if self._pieces:
            with open(_beside(self._path), "ab", opener=private) as file:
                # Not tofile, whose errors do not say why.
                file.write(np.concatenate(self._pieces).data)
            self._pieces.clear()


#: Batches whose places are held in memory.
_MOST_PIECES = 64


class OwnRows:
    """One rank's part of the sequence of one data set; all ranks make theirs in the same order.

    Parameters
    ----------
    path : str
        The file that was spooled.
    ranks : RankRows
        What all ranks have, and shall have.
    collective : Collective

    Attributes
    ----------
    order : array
        Where each of this rank's rows lies, in sequence, once the rows are levelled.
    """

    def __init__(self, path: str, ranks: RankRows, collective: Collective) -> None:
        self._path, self._ranks, self._collective = path, ranks, collective
        self.order: Int64 = np.empty(0, np.int64)

    def level(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Return this rank's rows, those that it takes from others last.

        Rows that it gives stay where they are. Nothing in `order` names them.
        """
        # Equal places are equal rows, or have the order of the frame's partitions.
        in_sequence = np.argsort(self._places(), kind="stable")
        levelled = level(batches, in_sequence, self._ranks, self._collective)
        self.order = levelled.order
        return levelled.batches

    def _places(self) -> Int64:
        try:
            found = np.fromfile(_beside(self._path), np.int64)
        except FileNotFoundError:  # this rank got no rows
            found = np.empty(0, np.int64)
        return values_in_order(found, self._path)


def _beside(path: str) -> str:
    return f"{path}.places"
