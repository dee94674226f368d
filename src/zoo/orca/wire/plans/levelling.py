"""Which rows move so that all workers have the same number: each rank computes it for itself.

Random placement gives workers nearly the same number of rows. Equal numbers give each worker the
same share of every full batch. A framework that compiles for each shape, as XLA does, then compiles
once and not for every size that rounding makes.

A rank with too many rows gives its last ones. In rank order, the given rows go to the ranks with
too few.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one rank does.

    Parameters
    ----------
    keeps : int
        Number of its first rows that stay; it gives the rest.
    start, stop : int
        The slice that it takes of the rows that all ranks give.
    """

    keeps: int
    start: int
    stop: int


def levelled(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return each rank's number of rows afterwards; a remainder goes to the first ranks."""
    each, more = divmod(sum(counts), len(counts))
    return tuple(each + (rank < more) for rank in range(len(counts)))


def moves(counts: tuple[int, ...]) -> list[Move]:
    """Return what each rank keeps and takes, by rank; as few rows move as possible."""
    found, start = [], 0
    for count, goal in zip(counts, levelled(counts), strict=True):
        stop = start + max(0, goal - count)
        found.append(Move(keeps=min(count, goal), start=start, stop=stop))
        start = stop
    return found
