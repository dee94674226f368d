"""Moves the few rows that are not with the worker that shall have them, after they are spooled.

`zoo.orca.wire.plans.levelling` decides which rows move.

Every rank receives all moved rows and keeps its own. Rows were placed by a hash, so their number is
about the square root of a worker's rows, however many that is. Only where very many rows are equal,
and so have one place, more of them move. They move in rounds, so memory does not limit them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.plans.levelling import Move, moves
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.rows.arrays import from_numbers

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRows:
    """The rows of all ranks, by rank.

    Parameters
    ----------
    counts, goals : tuple of int
        Before rows move, and afterwards.
    round : int
        Rows that one rank sends at once.
    """

    counts: tuple[int, ...]
    goals: tuple[int, ...]
    round: int


@dataclass(frozen=True, slots=True)
class Levelled:
    """One rank's rows afterwards.

    Parameters
    ----------
    batches : list of RecordBatch
        Its rows as they lay, and those that it took.
    order : array
        Where each of its rows lies in `batches`, in sequence.
    """

    batches: list[pa.RecordBatch]
    order: Int64


def level(
    batches: list[pa.RecordBatch], order: Int64, ranks: RankRows, collective: Collective
) -> Levelled:
    """Return this rank's rows after the move; all ranks call it in the same order.

    Parameters
    ----------
    batches : list of RecordBatch
        This rank's rows as they lie.
    order : array
        Where its rows lie, in sequence.
    ranks : RankRows
    collective : Collective
    """
    plan = moves(ranks.counts, ranks.goals)
    mine = plan[collective.rank]
    gives = np.concatenate([order[: mine.start], order[mine.stop :]])
    taken, came = _taken(batches, gives, plan, ranks, collective)
    before = mine.before.stop - mine.before.start
    parts = [len(order) + came[:before], order[mine.start : mine.stop], len(order) + came[before:]]
    return Levelled([*batches, *taken], np.concatenate(parts))


def level_as_they_lie(
    batches: list[pa.RecordBatch], ranks: RankRows, collective: Collective
) -> list[pa.RecordBatch]:
    """Return this rank's rows after the move, those that it takes last.

    The rows may be more than memory holds, so none of those that stay is moved. All ranks call it
    in the same order.
    """
    plan, rank = moves(ranks.counts, ranks.goals), collective.rank
    mine = plan[rank]
    gives = np.r_[0 : mine.start, mine.stop : ranks.counts[rank]]
    taken, _ = _taken(batches, gives, plan, ranks, collective)
    return [*_rows(batches, mine.start, mine.stop), *taken]


def _taken(
    batches: list[pa.RecordBatch],
    gives: Int64,
    plan: Sequence[Move],
    ranks: RankRows,
    collective: Collective,
) -> tuple[list[pa.RecordBatch], Int64]:
    """Return the rows that this rank takes, and where each lies among them, in sequence."""
    given = [
        count - (move.stop - move.start) for count, move in zip(ranks.counts, plan, strict=True)
    ]
    mine = plan[collective.rank]
    wanted = np.r_[mine.before, mine.after].astype(np.int64)
    firsts = np.cumsum([0, *given])
    taken: list[pa.RecordBatch] = []
    numbers = [wanted[:0]]
    for start in range(0, max(given), ranks.round):
        own = _rows_at(batches, gives[start : start + ranks.round])
        for rank, message in enumerate(collective.all_gather(_packed(own))):
            begin = firsts[rank] + start
            end = min(begin + ranks.round, firsts[rank + 1])
            here = wanted[(wanted >= begin) & (wanted < end)]
            if len(here):
                taken += _rows_at(list(_unpacked(message)), here - begin)
                numbers.append(here)
    # Rows came round by round, and from rank to rank in each of them.
    return taken, np.argsort(np.concatenate(numbers))


def _rows(batches: Sequence[pa.RecordBatch], start: int, stop: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows from `start` to `stop`, as they lie."""
    first = 0
    for batch in batches:
        begin, end = max(start, first), min(stop, first + batch.num_rows)
        if begin < end:
            yield batch.slice(begin - first, end - begin)
        first += batch.num_rows


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
