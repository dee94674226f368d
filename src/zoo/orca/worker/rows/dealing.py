"""Brings a worker's rows into their shards, after they are spooled.

`zoo.orca.wire.plans.shards` decides which rows move. Every rank receives all moved rows and keeps
its own. Rows were dealt at random, so few of them move: of a million rows and shards for batches
of 1,280, one or two in a hundred.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.plans.shards import dealt, level
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.rows.arrays import from_numbers
from zoo.orca.worker.rows.blocks import values_in_order
from zoo.orca.worker.rows.files import private

Int64 = NDArray[np.int64]


class ShardFile:
    """Writes the shard of each row beside the rows' file, as rows arrive."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pieces: list[NDArray[np.int32]] = []

    def add(self, shards: NDArray[np.int32]) -> None:
        """Note the shards of the next rows."""
        self._pieces.append(shards)
        if len(self._pieces) >= _MOST_PIECES:
            self.close()

    def close(self) -> None:
        """Write what is held; rows that were not dealt leave no file."""
        if self._pieces:
            with open(_beside(self._path), "ab", opener=private) as file:
                # Not tofile, whose errors do not say why.
                file.write(np.concatenate(self._pieces).data)
            self._pieces.clear()


#: Batches whose shards are held in memory.
_MOST_PIECES = 64


class Dealing:
    """Levels the shards of one file; all ranks do so in the same order.

    Parameters
    ----------
    path : str
        The file that was spooled.
    shards : int
        The number of shards over all ranks.
    collective : Collective

    Attributes
    ----------
    order : array
        Where each of this rank's rows lies, shard by shard, once the rows are levelled.
    """

    def __init__(self, path: str, shards: int, collective: Collective) -> None:
        self._path, self._count, self._collective = path, shards, collective
        self.order: Int64 = np.empty(0, np.int64)

    def level(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """Return this rank's rows, those that it takes from others last.

        Rows that it gives stay where they are. Nothing in `order` names them.
        """
        rank, size = self._collective.rank, self._collective.size
        shards = self._shards()
        sizes = self._sizes(dealt(shards, self._count))
        moves = level(sizes, shards, rank, size)
        self.order = moves.order
        if not moves.moved:
            return batches
        told = self._collective.all_gather(_packed(_rows_at(batches, moves.given)))
        pool = [batch for message in told for batch in _unpacked(message)]
        return [*batches, *_rows_at(pool, moves.taken)]

    def _shards(self) -> NDArray[np.int32]:
        try:
            found = np.fromfile(_beside(self._path), np.int32)
        except FileNotFoundError:  # this rank got no rows
            found = np.empty(0, np.int32)
        found = values_in_order(found, self._path)
        # Sorting small numbers is several times as fast.
        return found.astype(np.uint16) if self._count <= 1 << 16 else found

    def _sizes(self, own: Int64) -> Int64:
        rank, size = self._collective.rank, self._collective.size
        sizes = np.empty(self._count, np.int64)
        told = self._collective.all_gather(own[rank::size].tobytes())
        for number, message in enumerate(told):
            sizes[number::size] = np.frombuffer(message, np.int64)
        return sizes


def _rows_at(batches: Sequence[pa.RecordBatch], rows: Int64) -> list[pa.RecordBatch]:
    """Return chosen rows, numbered over all batches, in the order of `rows`."""
    if not len(rows):
        return []
    by_place = np.argsort(rows)
    firsts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    edges = np.searchsorted(rows[by_place], firsts)
    found = []
    for number, batch in enumerate(batches):
        chosen = rows[by_place[edges[number] : edges[number + 1]]] - firsts[number]
        if len(chosen):
            found.append(batch.take(from_numbers(chosen)))
    back = np.empty_like(by_place)
    back[by_place] = np.arange(len(rows))
    table = pa.Table.from_batches(found).combine_chunks().take(from_numbers(back))
    return list(table.to_batches())


def _packed(batches: Sequence[pa.RecordBatch]) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    if batches:
        with pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    return sink.getvalue()


def _unpacked(message: object) -> Iterator[pa.RecordBatch]:
    buffer = pa.py_buffer(message)
    if buffer.size:
        with pa.ipc.open_stream(buffer) as reader:
            yield from reader


def _beside(path: str) -> str:
    return f"{path}.shards"
