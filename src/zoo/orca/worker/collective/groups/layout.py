"""Which ranks exchange data with which others.

::

    hosts      the ranks of a host share memory
    rows       more hosts than a row holds make several rows, and the carriers of these again
    carriers   the ranks in the same place of each group: they carry one share of the data

Up to `MESHED_RANKS` ranks are all connected. Above that, a rank keeps only the links that it uses:
to its host, and to at most ``ROW - 1`` others at each level. So a rank of a thousand hosts has some
twenty links. A lost rank is still noticed by all: who loses a peer closes its own links.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

#: As many hosts exchange data each with each.
ROW: Final = 8
MESHED_RANKS: Final = 32


def ranks_by_host(addresses: Sequence[tuple[str, int]]) -> list[list[int]]:
    """Return the ranks that listen on each host, the hosts in the order of their first ranks."""
    groups: dict[str, list[int]] = {}
    for rank, (host, _) in enumerate(addresses):
        groups.setdefault(host, []).append(rank)
    return list(groups.values())


def rows_of(ranks: Sequence[int]) -> list[list[int]]:
    """Return `ranks` in rows of at most `ROW`, whose lengths differ by at most one."""
    count = max(1, -(-len(ranks) // ROW))
    return [part.tolist() for part in np.array_split(np.asarray(ranks, np.int64), count)]


def carriers_of(groups: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the ranks in each place, as far as every group has that place."""
    return list(zip(*groups, strict=False))


def group_of(rank: int, groups: Sequence[Sequence[int]]) -> Sequence[int]:
    """Return the group of `rank`."""
    return next(group for group in groups if rank in group)


def partners(rank: int, groups: Sequence[Sequence[int]]) -> set[int]:
    """Return the ranks that `rank` exchanges data with: in its group, and as a carrier."""
    group = group_of(rank, groups)
    found = set(group) - {rank}
    carriers = carriers_of(groups)
    if len(groups) > 1 and (place := group.index(rank)) < len(carriers):
        found |= partners(rank, rows_of(carriers[place]))
    return found
