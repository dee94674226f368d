"""Operations among several ranks on each of several hosts: memory within a host, sockets between.

One rank of each host, its first, speaks for the host. So what a host sends does not grow with its
ranks.

========== ======================================================================================
all_reduce the ranks of a host add into its first rank; the first ranks add among themselves; each
           rank copies the sum from its host's first
all_gather, broadcast, barrier
           the ranks of a host, then the first ranks, then the ranks of a host again
========== ======================================================================================

The order of additions follows the layout alone: by rank within a host, then as `Streams` adds. So
all ranks have the same bits, and so has each run of the same layout.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from zoo.orca.worker.collective.headers import with_length
from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.segment import Segment
from zoo.orca.worker.collective.shared_memory import SharedMemory
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.streams import Streams
from zoo.orca.worker.collective.transfers import Loop

_NOTHING = memoryview(b"")


class Hosts:
    """The transport between hosts of which some have several ranks.

    Parameters
    ----------
    rank : int
    links : sequence of Link
        To all other ranks, in rank order.
    loop : Loop
        Watches the links, and runs transfers over them.
    segments : dict of int to Segment
        Of the ranks of this host, in rank order.
    groups : sequence of sequence of int
        The ranks of each host, in order; the hosts in the order of their first ranks.
    """

    def __init__(
        self,
        rank: int,
        links: Sequence[Link],
        loop: Loop,
        segments: Mapping[int, Segment],
        groups: Sequence[Sequence[int]],
    ) -> None:
        self._rank = rank
        self._groups = {group[0]: tuple(group) for group in groups}
        self._firsts = {member: group[0] for group in groups for member in group}
        self._first = self._firsts[rank]
        near = [link for link in links if self._firsts[link.rank] == self._first]
        far = [link for link in links if link.rank in self._groups]
        #: None where this rank is alone on its host.
        self._within = SharedMemory(rank, near, loop, segments) if near else None
        #: None where another rank speaks for the host.
        self._between = Streams(rank, far, loop) if rank == self._first else None

    def all_reduce(self, header: bytes, flat: NDArray[Any]) -> None:
        """Replace `flat` by the sum over ranks; bit-identical on all ranks."""
        if self._within is not None:
            self._within.sum_to_first(header, flat)
        if self._between is not None:
            self._between.all_reduce(header, flat)
        if self._within is not None:
            self._within.copy_from_first(flat)

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""
        found: dict[int, Buffer] = {}
        if self._within is not None:
            found = self._within.all_gather(header, data)
        elsewhere: Buffer = _NOTHING
        if self._between is not None:
            own = {**found, self._rank: data}
            packed = _packed([own[rank] for rank in self._groups[self._first]])
            theirs = self._between.all_gather(with_length(header, len(packed)), packed)
            elsewhere = memoryview(b"".join(theirs[first] for first in sorted(theirs)))
        elsewhere = self._from_first(header, memoryview(elsewhere))
        ranks = [r for f, group in self._groups.items() if f != self._first for r in group]
        found.update(zip(ranks, _unpacked(elsewhere, self._others()), strict=True))
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
        """Return what the host's first rank has, whose `data` it is; the others' is empty."""
        if self._within is None:
            return data
        if self._rank == self._first:
            self._within.give(with_length(header, len(data)), data)
            return data
        return self._within.take(with_length(header, 0), self._first)

    def _wait_for_first(self, header: bytes) -> None:
        """Return once the first rank has found that the other hosts made the same call."""
        if self._within is not None:
            self._within.barrier(header)

    def _others(self) -> list[int]:
        """Return the ranks of each other host."""
        return [len(group) for first, group in self._groups.items() if first != self._first]


def _packed(parts: Sequence[Buffer]) -> memoryview:
    """Return the data of a host's ranks as one: their lengths, then each."""
    lengths = struct.pack(f"<{len(parts)}Q", *map(len, parts))
    return memoryview(b"".join([lengths, *parts]))


def _unpacked(data: Buffer, counts: Sequence[int]) -> Iterator[memoryview]:
    """Yield the parts of what `_packed` made of so many ranks of each host, one after another."""
    view, place = memoryview(data), 0
    for count in counts:
        lengths = struct.unpack_from(f"<{count}Q", view, place)
        place += 8 * count
        for length in lengths:
            yield view[place : place + length]
            place += length
