"""Operations through memory that ranks of one host share: all of a ring, or some of it.

One step repeats. Every rank writes its data into its own segment, publishes it by incrementing its
turn, and waits until all others have published theirs. Then each rank reads what it needs from the
others' segments.

A segment has two halves, used in turn. A rank writes to a half again only two steps later, after
all others have published the step between. A rank publishes only when it has finished reading. So
no rank needs to confirm that it has read.

========== ======================================================================================
all_reduce piece by piece, each in one step: every rank reads and adds all data
 many ranks each rank adds one slice of all published data, and publishes the sums in the next
           step, together with its next piece: each number is read and added on one rank only
all_gather, broadcast, barrier
           each rank copies what is meant for it
shares     the two halves of an all-reduce: some ranks add one share each, and the others copy it
========== ======================================================================================

All of them add in rank order, from rank 0 up. A rank whose peer is not there yet spins for some
microseconds. Then it sleeps until the peer rings its bell or a link reports a lost peer. Only the
links decide that a peer is lost.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective.arithmetic import add_in_rank_order
from zoo.orca.worker.collective.headers import GOODBYE, check, length_in
from zoo.orca.worker.collective.protocol import Buffer
from zoo.orca.worker.collective.segment import ASLEEP, HALF_BYTES, TURN, Segment
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.transfers import Loop

#: Above this number, ranks add in slices if the data is worth a second step. Measured: up to four
#: ranks, adding everything on every rank takes half the time, because ranks wait half as often.
#: With eight, both take the same time.
_SLICED_RANKS: Final = 8
_SLICED_BYTES: Final = 256 << 10
#: A half holds a piece of the data, then this rank's slice of the last piece's sums.
_PIECE_BYTES: Final = HALF_BYTES // 2
#: Minimum number of polls for a peer before sleeping, because sleeping costs more.
_LEAST_TRIES: Final = 20
#: Parts of one publication start at multiples of this, which any type of number may.
_ALIGNMENT: Final = 64
_NOTHING: Final = memoryview(b"")


class SharedMemory:
    """The transport between ranks of one host.

    Parameters
    ----------
    rank : int
    links : sequence of Link
        To the other ranks that share the memory, in rank order.
    loop : Loop
        Watches the links.
    segments : dict of int to Segment
        Of these ranks, and this one, in rank order.
    """

    def __init__(
        self, rank: int, links: Sequence[Link], loop: Loop, segments: Mapping[int, Segment]
    ) -> None:
        self._rank = rank
        self._loop = loop
        self._segments = list(segments.values())
        self._place = list(segments).index(rank)
        self._mine = segments[rank]
        self._peers = [(link, segments[link.rank]) for link in links]
        self._turn = 0
        self._header = b""
        self._lock = threading.Lock()

    def all_reduce(self, header: bytes, flat: NDArray[Any], *, rounded: bool) -> None:
        """Replace `flat` by the sum over ranks, added in rank order; here nothing is rounded."""
        # Overflow and NaN are the training's concern. It must not matter which rank adds them.
        with np.errstate(all="ignore"):
            if len(self._segments) > _SLICED_RANKS and flat.nbytes > _SLICED_BYTES:
                self._sum_in_slices(header, flat)
            else:
                self._sum_directly(header, flat)

    def all_gather(self, header: bytes, data: memoryview) -> dict[int, Buffer]:
        """Return the other ranks' data by rank."""
        self._begin(header)
        half = self._publish(data[:HALF_BYTES])
        self._check_headers(half)
        lengths = {link.rank: length_in(one.headers[half]) for link, one in self._peers}
        gathered = {rank: np.empty(size, np.uint8).data for rank, size in lengths.items()}
        for start in range(0, max(len(data), *lengths.values()), HALF_BYTES):
            if start:
                half = self._publish(data[start : start + HALF_BYTES])
            for link, segment in self._peers:
                part = gathered[link.rank][start : start + HALF_BYTES]
                part[:] = segment.halves[half][: len(part)]
        return {**gathered}

    def give(self, header: bytes, data: memoryview) -> None:
        """Broadcast as the root."""
        self.all_gather(header, data)

    def take(self, header: bytes, root: int) -> Buffer:
        """Broadcast as another rank: return the root's data."""
        return self.all_gather(header, _NOTHING)[root]

    def barrier(self, header: bytes) -> None:
        """Return once every rank has called it."""
        self._begin(header)
        self._check_headers(self._publish())

    def sum_shares(self, header: bytes, shares: Sequence[NDArray[Any]]) -> None:
        """Let each of the first ranks add one of `shares` over all ranks, as the start of a sum.

        Parameters
        ----------
        header : bytes
        shares : sequence of array
            Views of one rank's data, in order, at most one a rank. The rank in place k replaces its
            share k by the sum. Elsewhere that share is undefined afterwards.
        """
        self._begin(header)
        # So many bytes of each share fit into one publication.
        room = HALF_BYTES // len(shares) // _ALIGNMENT * _ALIGNMENT
        length = room // shares[0].itemsize
        for start in range(0, max(1, len(shares[0])), length):
            parts = [share[start : start + length] for share in shares]
            half = self._publish_parts(parts, room)
            if not start:
                self._check_headers(half)
            if self._place < len(shares):
                self._add_theirs(half, self._place * room, parts[self._place])

    def copy_shares(self, shares: Sequence[NDArray[Any]]) -> None:
        """Replace each share by that of the rank in its place, as the end of an operation."""
        length = HALF_BYTES // shares[0].itemsize
        for start in range(0, max(1, len(shares[0])), length):
            pieces = [share[start : start + length].view(np.uint8).data for share in shares]
            own = pieces[self._place] if self._place < len(pieces) else _NOTHING
            half = self._publish(own)
            for place, piece in enumerate(pieces):
                if place != self._place:
                    piece[:] = self._segments[place].halves[half][: len(piece)]

    def close(self) -> None:
        """Release the memory and the bells."""
        for segment in self._segments:
            segment.close()

    def _sum_directly(self, header: bytes, flat: NDArray[Any]) -> None:
        """Let every rank add everything that was published."""
        self._begin(header)
        length = HALF_BYTES // flat.itemsize
        for start in range(0, max(1, len(flat)), length):
            piece = flat[start : start + length]
            half = self._publish(piece.view(np.uint8).data)
            if not start:
                self._check_headers(half)
            self._add(half, 0, piece)

    def _sum_in_slices(self, header: bytes, flat: NDArray[Any]) -> None:
        """Let every rank add its slice of each piece, and publish it with the next piece."""
        self._begin(header)
        length = _PIECE_BYTES // flat.itemsize
        pieces = [flat[start : start + length] for start in range(0, len(flat), length)]
        slices: list[NDArray[Any]] = []
        half = 0
        for piece in [*pieces, flat[:0]]:
            if slices:
                place = self._mine.halves[1 - half]
                before = sum(map(len, slices[: self._place])) * flat.itemsize
                count = len(slices[self._place])
                self._add(half, before, np.frombuffer(place, flat.dtype, count, _PIECE_BYTES))
            half = self._publish(piece.view(np.uint8).data)
            if not slices:
                self._check_headers(half)
            for segment, part in zip(self._segments, slices, strict=False):
                sums = segment.halves[half][_PIECE_BYTES : _PIECE_BYTES + part.nbytes]
                part.view(np.uint8).data[:] = sums
            slices = np.array_split(piece, len(self._segments))

    def _add(self, half: int, offset: int, out: NDArray[Any]) -> None:
        """Write the sum of all ranks' data at `offset` to `out`."""
        first, second, *others = [
            np.frombuffer(segment.halves[half], out.dtype, len(out), offset)
            for segment in self._segments
        ]
        np.add(first, second, out=out)
        for part in others:
            np.add(out, part, out=out)

    def _add_theirs(self, half: int, offset: int, out: NDArray[Any]) -> None:
        """Add the other ranks' data at `offset` to `out`, all of them in rank order."""
        theirs = [
            np.frombuffer(segment.halves[half], out.dtype, len(out), offset)
            for segment in self._segments
            if segment is not self._mine
        ]
        add_in_rank_order(out, self._place, theirs)

    def _begin(self, header: bytes) -> None:
        """Let the next publication carry the header of a call."""
        self._header = header
        self._mine.headers[(self._turn + 1) & 1][:] = header

    def _check_headers(self, half: int) -> None:
        for link, segment in self._peers:
            check(link, segment.headers[half].tobytes(), self._header)

    def _publish_parts(self, parts: Sequence[NDArray[Any]], room: int) -> int:
        """Publish the others' parts of this rank's data, each at a multiple of `room`."""
        place = self._mine.halves[(self._turn + 1) & 1]
        for number, part in enumerate(parts):
            # Nobody else reads this rank's own part.
            if number != self._place:
                start = number * room
                place[start : start + part.nbytes] = part.view(np.uint8).data
        return self._publish()

    def _publish(self, data: memoryview = _NOTHING) -> int:
        """Publish this rank's data, wait for all others, and return the half where the data are."""
        self._turn += 1
        half = self._turn & 1
        self._mine.halves[half][: len(data)] = data
        self._order_memory()
        self._mine.words[TURN] = self._turn
        self._order_memory()
        for _, segment in self._peers:
            if segment.words[ASLEEP] == self._rank + 1:
                segment.ring()
        for link, segment in self._peers:
            if segment.words[TURN] < self._turn:
                self._wait(link, segment.words)
        self._order_memory()
        return half

    def _wait(self, link: Link, theirs: memoryview) -> None:
        """Return once the peer has published its part of this step."""
        until = time.monotonic() + self._loop.spin
        tries = 0
        while tries < _LEAST_TRIES or time.monotonic() < until:
            # The peer may be waiting for this very processor.
            os.sched_yield()
            if theirs[TURN] >= self._turn:
                return
            tries += 1
        self._mine.words[ASLEEP] = link.rank + 1
        self._order_memory()
        while theirs[TURN] < self._turn:
            # A peer publishes before it leaves, so this one left without publishing.
            if link.departed:
                check(link, GOODBYE, self._header)
            self._loop.wait(self._mine.ear, link)
            self._mine.hush()
        self._mine.words[ASLEEP] = 0

    def _order_memory(self) -> None:
        """Make earlier writes visible before all later reads and writes."""
        # Acquiring a lock keeps later accesses behind it. Releasing a lock keeps earlier accesses
        # before it. An acquire never overtakes a release. So two locks in a row stop both
        # directions.
        with self._lock:
            pass
        with self._lock:
            pass
