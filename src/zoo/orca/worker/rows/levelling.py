"""Moves the few rows that make workers unequal, after they are spooled.

`zoo.orca.wire.plans.levelling` decides which rows move.

Every rank receives all moved rows and keeps its own. Rows were placed at random, so their number is
the square root of a worker's rows, however many that is.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from zoo.orca.wire.plans.levelling import moves
from zoo.orca.worker.collective.protocol import Collective


def level(
    batches: list[pa.RecordBatch], counts: tuple[int, ...], collective: Collective
) -> list[pa.RecordBatch]:
    """Return this rank's rows after the move; all ranks call it in the same order.

    Parameters
    ----------
    batches : list of RecordBatch
        This rank's rows as they are.
    counts : tuple of int
        Rows of all ranks, by rank.
    collective : Collective
    """
    plan = moves(counts)
    if all(move.start == move.stop for move in plan):
        return batches
    mine = plan[collective.rank]
    given = list(_rows(batches, mine.keeps, counts[collective.rank]))
    pool = [
        batch for message in collective.all_gather(_packed(given)) for batch in _unpacked(message)
    ]
    return [*_rows(batches, 0, mine.keeps), *_rows(pool, mine.start, mine.stop)]


def _rows(batches: Sequence[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows from `start` to `stop`, as they lie."""
    first = 0
    for batch in batches:
        begin, end = max(start, first), min(stop, first + batch.num_rows)
        if begin < end:
            yield batch.slice(begin - first, end - begin)
        first += batch.num_rows


def _packed(batches: Sequence[pa.RecordBatch]) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    if batches:
        with pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    return sink.getvalue()


def _unpacked(message: object) -> list[pa.RecordBatch]:
    buffer = pa.py_buffer(message)
    if not buffer.size:
        return []
    with pa.ipc.open_stream(buffer) as reader:
        return list(reader)
