"""Which rows move so that each worker has its part of a sequence: each rank computes it for itself.

The rows of all ranks, one rank after another, are one sequence. Ranks have about the part of it
that they shall have: rows came to them by a hash. Each rank gives the rows at both ends of its part
that belong to others, and takes what it lacks. The sequence stays the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What one rank does.

    Parameters
    ----------
    start, stop : int
        The slice that stays of its rows; it gives the others, in their order.
    before, after : slice
        What it takes of the rows that all ranks give, rank by rank: rows that come before its own
        ones, and after them.
    """

    start: int
    stop: int
    before: slice
    after: slice

    @property
    def takes(self) -> int:
        """The number of rows that it takes."""
        return sum(part.stop - part.start for part in (self.before, self.after))


def levelled(counts: Sequence[int]) -> tuple[int, ...]:
    """Return equal numbers of rows for all ranks; a remainder goes to the first ones."""
    each, more = divmod(sum(counts), len(counts))
    return tuple(each + (rank < more) for rank in range(len(counts)))


def moves(counts: Sequence[int], goals: Sequence[int]) -> list[Move]:
    """Return what each rank keeps and takes, by rank.

    Parameters
    ----------
    counts, goals : sequence of int
        Rows of each rank before and afterwards; their sums are equal.
    """
    spans = list(pairwise(accumulate(counts, initial=0)))
    parts = list(pairwise(accumulate(goals, initial=0)))
    kept = [_common(span, part) for span, part in zip(spans, parts, strict=True)]
    return [
        Move(
            start=keeps[0] - span[0],
            stop=keeps[1] - span[0],
            before=_given(kept, part[0], min(part[1], keeps[0])),
            after=_given(kept, max(part[0], keeps[1]), part[1]),
        )
        for span, part, keeps in zip(spans, parts, kept, strict=True)
    ]


def _common(span: tuple[int, int], part: tuple[int, int]) -> tuple[int, int]:
    """Return what two spans share; an empty one lies within `span`."""
    start = min(max(span[0], part[0]), span[1])
    return start, max(start, min(span[1], part[1]))


def _given(kept: list[tuple[int, int]], start: int, stop: int) -> slice:
    """Return where the rows from `start` to `stop`, none of which stays, are among the given."""

    def before(row: int) -> int:
        return row - sum(min(end, row) - min(begin, row) for begin, end in kept)

    return slice(before(start), before(max(start, stop)))
