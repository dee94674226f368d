"""Operations over TCP: one thread, non-blocking sockets, numpy.

Every operation begins with a header from every rank to every other one. A rank sends at most
`EAGER_BYTES` to a peer that has not sent its header, because the peer's window must stay open (see
`zoo.orca.worker.collective.sockets`). Small data travels with the header, so a small all-reduce is
one round trip.

========== ======================================================================================
all_reduce
 small     direct: all to all, added in rank order on every rank
 two ranks each sends all its data while it receives the other's: half a ring's round trips
 medium    in shares: each rank gets its share from all, adds it, and sends the sum to all. Two
           messages a peer, and no more bytes than a ring's
 large     ring: reduce-scatter and all-gather in one pipelined stream, each sum made on one rank
 rounded   as bfloat16, added as float32: all as above, but large data in shares, too. So numbers
           are rounded once, and those of shares twice, where a ring would round at each rank
broadcast
 small     root to all
 large     from rank to rank around the ring, passed on while it arrives
all_gather all to all: every byte must reach every rank, and no other way is shorter
========== ======================================================================================
"""

import select
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective import pipeline
from zoo.orca.worker.collective.arithmetic import add_in_rank_order
from zoo.orca.worker.collective.bfloat16 import round_to, rounded_of, widen_to, widened
from zoo.orca.worker.collective.headers import HEADER_BYTES, check, length_in
from zoo.orca.worker.collective.pipeline import Gate, pass_on, segments, take_in
from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.sockets import EAGER_BYTES, Link
from zoo.orca.worker.collective.transfers import MOVED, Loop, Task, pull, push, push_call

#: Three or more ranks exchange all data directly while each receives no more than this, and in
#: shares while it receives no more than that. Measured, see benchmarks/ranks.py: above the first,
#: sending less is worth a second round of messages, and above the second, a ring adds and sends
#: while it receives.
_DIRECT_BYTES: Final = 64 << 10
_SHARES_BYTES: Final = 8 << 20
_NOTHING: Final = memoryview(b"")
_NONE: Final[Mapping[int, memoryview]] = {}


class Streams:
    """The transport between any hosts: one stream of bytes to each peer and one from it.

    Parameters
    ----------
    rank : int
    links : sequence of Link
        To the other ranks that take part, in rank order.
    loop : Loop
        Runs this transport's tasks.
    """

    def __init__(self, rank: int, links: Sequence[Link], loop: Loop) -> None:
        self._rank = rank
        self._order = sorted([rank, *(link.rank for link in links)])
        self._place = self._order.index(rank)
        self._size = len(links) + 1
        self._links = list(links)
        self._by_rank = {link.rank: link for link in self._links}
        self._headers = {link.rank: memoryview(bytearray(HEADER_BYTES)) for link in self._links}
        self._loop = loop
        self._scratch = np.empty(pipeline.SEGMENT_BYTES, np.uint8)
        self._slots: dict[int, NDArray[np.uint8]] = {}
        self._slot_size = -1

    def all_reduce(self, header: bytes, flat: NDArray[Any], *, rounded: bool = False) -> None:
        """Replace `flat` by the sum over ranks, with the algorithm for its size."""
        # Rounded numbers of float32 are halves.
        sent = flat.nbytes // 2 if rounded else flat.nbytes
        received = sent * len(self._links)
        if self._size == 2 and sent > EAGER_BYTES:
            self._sum_with_the_other(header, flat, rounded=rounded)
        elif received <= _DIRECT_BYTES:
            self._sum_directly(header, flat, rounded=rounded)
        elif received <= _SHARES_BYTES or rounded:
            # Around a ring every hop would round again.
            shares = np.array_split(flat, self._size)
            self.sum_shares(header, shares, rounded=rounded)
            self.copy_shares(shares, rounded=rounded)
        else:
            self._sum_around(header, flat)

    def sum_shares(
        self, header: bytes, shares: Sequence[NDArray[Any]], *, rounded: bool = False
    ) -> None:
        """Let each of the first ranks add one of `shares` over all ranks, as the start of a sum.

        Parameters
        ----------
        header : bytes
        shares : sequence of array
            Views of one rank's data, in order, at most one a rank. The rank in place k replaces its
            share k by the sum.
        rounded : bool
            Whether numbers of float32 are sent as bfloat16.
        """
        sent = [rounded_of(share) for share in shares] if rounded else shares
        outgoing = self._by_carrier(sent)
        ours = outgoing.get(self._rank, _NOTHING)
        parts = self._trade(header, outgoing, len(ours))
        if not ours:
            return
        own = shares[self._place]
        if rounded:
            widen_to(own, sent[self._place])
        add_in_rank_order(own, self._place, _numbers(parts, own, rounded=rounded))

    def copy_shares(self, shares: Sequence[NDArray[Any]], *, rounded: bool = False) -> None:
        """Replace each share by that of the rank in its place, as the end of a sum."""
        sent = list(shares)
        if rounded:
            sent = [np.empty(len(share), np.uint16) for share in shares]
            if self._place < len(shares):
                round_to(sent[self._place], shares[self._place])
        outgoing = self._by_carrier(sent)
        ours = outgoing.pop(self._rank, _NOTHING)
        tasks = [push(link, ours) for link in self._links]
        self._loop.run(tasks + [pull(self._by_rank[k], share) for k, share in outgoing.items()])
        if rounded:
            for share, halves in zip(shares, sent, strict=True):
                widen_to(share, halves)

    def hand_on(self, flat: NDArray[Any], have: int) -> None:
        """Let the first rank send `flat` to the others but the first `have`, as a sum's end."""
        data = flat.view(np.uint8).data
        if self._place == 0:
            self._loop.run([push(self._by_rank[rank], data) for rank in self._order[have:]])
        elif self._place >= have:
            self._loop.run([pull(self._by_rank[self._order[0]], data)])

    def _by_carrier(self, shares: Sequence[NDArray[Any]]) -> dict[int, memoryview]:
        """Return the bytes of each share by the rank that adds it."""
        return {
            rank: share.view(np.uint8).data
            for rank, share in zip(self._order, shares, strict=False)
        }

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""
        sizes = self._meet(header, dict.fromkeys(self._by_rank, data))
        # Not zeroed first, as a bytearray would be, because all of it is overwritten.
        gathered: dict[int, Buffer] = {r: np.empty(n, np.uint8).data for r, n in sizes.items()}
        tasks = [push(link, data[EAGER_BYTES:]) for link in self._links]
        tasks += [pull(link, memoryview(gathered[link.rank])) for link in self._links]
        self._loop.run(tasks)
        return gathered

    def barrier(self, header: bytes) -> None:
        """Return once every rank has called it."""
        self._meet(header)

    def close(self) -> None:
        """No-op: the links belong to the ring."""

    def give(self, header: bytes, data: memoryview) -> None:
        """Broadcast as the root."""
        if len(data) <= EAGER_BYTES or not self._links:
            self._meet(header, dict.fromkeys(self._by_rank, data))
            return
        self._meet(header)
        self._loop.run([push(self._neighbours()[1], data)])

    def take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank; large data travels around the ring and is passed on."""
        data = np.empty(self._meet(header)[root], np.uint8)
        if data.nbytes <= EAGER_BYTES:
            self._loop.run([pull(self._by_rank[root], data.data)])
            return data.data
        left, right = self._neighbours()
        parts, gate = segments(data), Gate(0)
        tasks = [take_in(left, parts, gate, self._scratch, 0)]
        if right.rank != root:
            tasks.append(pass_on(right, parts, gate))
        self._loop.run(tasks)
        return data.data

    def _meet(self, header: bytes, outgoing: Mapping[int, memoryview] = _NONE) -> dict[int, int]:
        """Exchange headers, with the start of the data for a peer; return the others' lengths.

        Afterwards every rank is in this operation and reads, so data may flow without limit.
        """
        starts = {rank: data[:EAGER_BYTES] for rank, data in outgoing.items()}
        tasks = [push_call(k, header, starts.get(k.rank, _NOTHING)) for k in self._links]
        tasks += [self._hear(k, header, self._headers[k.rank]) for k in self._links]
        self._loop.run(tasks)
        return {rank: length_in(theirs) for rank, theirs in self._headers.items()}

    def _hear(self, link: Link, header: bytes, view: memoryview) -> Task:
        """Fill `view` with the peer's header and perhaps data; check the header once it arrives.

        The check is immediate, because a peer in another operation may never fill `view`.
        """
        missing = view
        checked = False
        while missing:
            count = link.receive(missing)
            missing = missing[count:]
            if not checked and len(view) - len(missing) >= HEADER_BYTES:
                check(link, view[:HEADER_BYTES], header)
                checked = True
            if missing:
                yield MOVED if count else (link, select.POLLIN)

    def _sum_directly(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Send all to all; add in rank order, so that every rank gets the same bits."""
        ours = rounded_of(flat) if rounded else flat
        data = ours.view(np.uint8).data
        parts = self._trade(header, dict.fromkeys(self._by_rank, data), len(data))
        if rounded:
            widen_to(flat, ours)
        add_in_rank_order(flat, self._place, _numbers(parts, flat, rounded=rounded))

    def _trade(
        self, header: bytes, outgoing: Mapping[int, memoryview], size: int
    ) -> list[NDArray[np.uint8]]:
        """Send each peer its data; return what they sent, `size` bytes each, in rank order."""
        slots = self._slots_for(size)
        if max(map(len, outgoing.values()), default=0) <= EAGER_BYTES:
            given = {link.rank: outgoing.get(link.rank, _NOTHING) for link in self._links}
            tasks = [push_call(link, header, given[link.rank]) for link in self._links]
            hear = [self._hear(k, header, slots[k.rank].data) for k in self._links]
            self._loop.run(tasks + hear)
        else:
            self._meet(header, outgoing)
            rest = {rank: data[EAGER_BYTES:] for rank, data in outgoing.items()}
            tasks = [push(link, rest.get(link.rank, _NOTHING)) for link in self._links]
            pulls = [pull(k, slots[k.rank].data[HEADER_BYTES:]) for k in self._links]
            self._loop.run(tasks + pulls)
        return [slots[link.rank][HEADER_BYTES:] for link in self._links]

    def _at(self, place: int) -> Link:
        """Return the link to the rank in a place."""
        return self._by_rank[self._order[place]]

    def _sum_with_the_other(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Between two ranks: send all of ours while all of theirs arrives."""
        (link,) = self._links
        sent, first = Gate(0), self._place == 0
        if rounded:
            self._meet(header)
            push_ours = pipeline.push_rounded(link, flat, sent)
            add = pipeline.add_rounded(link, flat, sent, self._scratch, ours_first=first)
        else:
            data = flat.view(np.uint8).data
            self._meet(header, {link.rank: data})
            sent.open = EAGER_BYTES
            push_ours = pipeline.push_counted(link, data, sent)
            add = pipeline.add_theirs(link, flat, sent, self._scratch, ours_first=first)
        with np.errstate(all="ignore"):
            self._loop.run([push_ours, add])

    def _slots_for(self, size: int) -> dict[int, NDArray[np.uint8]]:
        """Return one buffer per peer for header and `size` bytes; training uses one size only."""
        if self._slot_size != size:
            self._slots = {k.rank: np.empty(HEADER_BYTES + size, np.uint8) for k in self._links}
            self._slot_size = size
        return self._slots

    def _sum_around(self, header: bytes, flat: NDArray[Any]) -> None:
        """Reduce-scatter, then all-gather, as one stream from the left to the right neighbour.

        The rank in place r sends chunks r, r-1, ...: first `size - 1` partial sums, then finished
        ones. After its first chunk, a rank sends what it received one chunk earlier. So it may send
        as soon as that has arrived.
        """
        self._meet(header)
        left, right = self._neighbours()
        chunks = [segments(part) for part in np.array_split(flat, self._size)]
        order = [chunks[(self._place - step) % self._size] for step in range(2 * self._size - 1)]
        incoming = [segment for chunk in order[1:] for segment in chunk]
        partial = sum(len(chunk) for chunk in order[1 : self._size])
        outgoing = [segment for chunk in order[:-1] for segment in chunk]
        gate = Gate(len(order[0]))
        receive = take_in(left, incoming, gate, self._scratch, partial)
        with np.errstate(all="ignore"):
            self._loop.run([pass_on(right, outgoing, gate), receive])

    def _neighbours(self) -> tuple[Link, Link]:
        """Return the links to the rank before and the rank after this one."""
        return self._at(self._place - 1), self._at((self._place + 1) % self._size)


def _numbers(
    parts: Sequence[NDArray[np.uint8]], like: NDArray[Any], *, rounded: bool
) -> list[NDArray[Any]]:
    """Return what peers have sent as numbers of the type of `like`."""
    if rounded:
        return [widened(part.view(np.uint16)) for part in parts]
    return [part.view(like.dtype) for part in parts]
