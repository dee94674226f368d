"""Which rows change workers so that all have as many: pure arithmetic that each does for itself.

Rows that were placed at random leave workers with nearly the same number. Equal numbers give each
worker the same share of every full batch, so a framework that compiles for each shape (XLA does)
compiles once and not for every size that rounding makes.

Whoever has too many gives its last rows. What is given, one rank after another, is handed to those
who have too few, in rank order.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one rank does.

    Parameters
    ----------
    keeps : int
        Its first so many rows stay; it gives the rest.
    start, stop : int
        The part it takes of the rows that all ranks give.
    """

    keeps: int
    start: int
    stop: int


def levelled(counts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rows of each rank afterwards; the first ones have one more if they must."""
    each, more = divmod(sum(counts), len(counts))
    return tuple(each + (rank < more) for rank in range(len(counts)))


def moves(counts: tuple[int, ...]) -> list[Move]:
    """Return what each rank keeps and takes, by rank; nothing moves that need not."""
    found, start = [], 0
    for count, goal in zip(counts, levelled(counts), strict=True):
        stop = start + max(0, goal - count)
        found.append(Move(keeps=min(count, goal), start=start, stop=stop))
        start = stop
    return found
