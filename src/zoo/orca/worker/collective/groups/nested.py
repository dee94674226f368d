"""What operations in groups have in common: within the groups, then between their first ranks.

The ranks of a group are near each other: on one host (`Hosts`), or in one row of hosts
(`HostRows`). One rank of each group, its first, speaks for it in all operations but sums.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from zoo.orca.worker.collective.groups.layout import carriers_of, group_of
from zoo.orca.worker.collective.headers import with_length
from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.transport import Transport

_NOTHING: Final = memoryview(b"")

#: Makes the transport among this rank and its like in the other groups.
Far: TypeAlias = Callable[[Sequence[int]], Transport]


class Nested:
    """Operations in groups, without the sum.

    Parameters
    ----------
    rank : int
    groups : sequence of sequence of int
        The ranks of each group, in order; the groups in the order of their first ranks.
    near : Transport or None
        Within this rank's group; None where it is alone.
    far : callable
        Called with the ranks in this rank's place of each group, if it carries a share.
    """

    def __init__(
        self, rank: int, groups: Sequence[Sequence[int]], near: Transport | None, far: Far
    ) -> None:
        self._rank = rank
        self._groups = {group[0]: tuple(group) for group in groups}
        self._firsts = {member: group[0] for group in groups for member in group}
        self._first = self._firsts[rank]
        self._carriers = carriers_of(groups)
        self._place = group_of(rank, groups).index(rank)
        self._within = near
        #: Among this rank and its like in the other groups; None where it carries no share.
        self._beside: Transport | None = None
        if self._place < len(self._carriers):
            self._beside = far(self._carriers[self._place])
        #: None where another rank speaks for the group.
        self._between = self._beside if self._place == 0 else None

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""
        found: dict[int, Buffer] = {}
        if self._within is not None:
            found = self._within.all_gather(header, data)
        elsewhere: Buffer = _NOTHING
        if self._between is not None:
            own = {**found, self._rank: data}
            bundle = packed([own[rank] for rank in self._groups[self._first]])
            theirs = self._between.all_gather(with_length(header, len(bundle)), bundle)
            elsewhere = memoryview(b"".join(theirs[first] for first in sorted(theirs)))
        elsewhere = self._from_first(header, memoryview(elsewhere))
        ranks = [r for f, group in self._groups.items() if f != self._first for r in group]
        found.update(zip(ranks, unpacked(elsewhere, self._others()), strict=True))
        return found

    def give(self, header: bytes, data: memoryview) -> None:
        """Broadcast as the root."""
        if self._within is not None:
            self._within.give(header, data)
        if self._between is not None:
            self._between.give(header, data)
        self._wait_for_first(header)

    def take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank: return the root's data."""
        speaker = self._firsts[root]
        data: Buffer = _NOTHING
        is_near = speaker == self._first
        if is_near and self._within is not None:
            data = self._within.take(header, root)
        if self._between is not None:
            if is_near:
                self._between.give(with_length(header, len(data)), memoryview(data))
            else:
                data = self._between.take(header, speaker)
        if not is_near:
            return self._from_first(header, memoryview(data))
        self._wait_for_first(header)
        return data

    def barrier(self, header: bytes) -> None:
        """Return once every rank has called it."""
        if self._within is not None:
            self._within.barrier(header)
        if self._between is not None:
            self._between.barrier(header)
        self._wait_for_first(header)

    def close(self) -> None:
        """Release the memory and the bells."""
        if self._within is not None:
            self._within.close()

    def _from_first(self, header: bytes, data: memoryview) -> Buffer:
        """Return what the group's first rank has, whose `data` it is; the others' is empty."""
        if self._within is None:
            return data
        if self._rank == self._first:
            self._within.give(with_length(header, len(data)), data)
            return data
        return self._within.take(with_length(header, 0), self._first)

    def _wait_for_first(self, header: bytes) -> None:
        """Return once the first rank has found that the other groups made the same call."""
        if self._within is not None:
            self._within.barrier(header)

    def _others(self) -> list[int]:
        """Return the number of ranks of each other group."""
        return [len(group) for first, group in self._groups.items() if first != self._first]


def packed(parts: Sequence[Buffer]) -> memoryview:
    """Return the data of a group's ranks as one: their lengths, then each."""
    lengths = struct.pack(f"<{len(parts)}Q", *map(len, parts))
    return memoryview(b"".join([lengths, *parts]))


def unpacked(data: Buffer, counts: Sequence[int]) -> Iterator[memoryview]:
    """Yield the parts of what `packed` made of so many ranks of each group, one after another."""
    view, place = memoryview(data), 0
    for count in counts:
        lengths = struct.unpack_from(f"<{count}Q", view, place)
        place += 8 * count
        for length in lengths:
            yield view[place : place + length]
            place += length
