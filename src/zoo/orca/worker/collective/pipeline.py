"""A stream that a rank receives from its left neighbour and passes on to its right one.

It moves in segments. A segment may be passed on, after its sum where there is one, while the next
one still arrives.
"""

import select
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.collective.bfloat16 import round_to, widen_to
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.transfers import LATER, MOVED, Task, pull, push

#: A segment stays in the processor's cache between its receipt and its sending.
SEGMENT_BYTES: Final = 512 << 10


class Gate:
    """A task's progress, in segments or bytes, which another task must not overtake."""

    def __init__(self, count: int) -> None:
        self.open = count


def segments(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut a one-dimensional array into views of at most `SEGMENT_BYTES`."""
    step = SEGMENT_BYTES // array.itemsize
    return [array[start : start + step] for start in range(0, len(array), step)]


def push_counted(link: Link, data: memoryview, sent: Gate) -> Task:
    """Send `data` from the gate's position on, and advance the gate."""
    while sent.open < len(data) or link.holds:
        count = link.send(data[sent.open :])
        sent.open += count
        yield MOVED if count else (link, select.POLLOUT)


def push_rounded(link: Link, array: NDArray[Any], sent: Gate) -> Task:
    """Send `array`, of float32, as halves; advance the gate, by what they stand for.

    The array keeps the rounded numbers, which the peer has, too.
    """
    room = np.empty(SEGMENT_BYTES // array.itemsize, np.uint16)
    for segment in segments(array):
        halves = room[: len(segment)]
        round_to(halves, segment)
        widen_to(segment, halves)
        yield from push(link, halves.view(np.uint8).data)
        sent.open += segment.nbytes
        yield MOVED


def add_theirs(
    link: Link, array: NDArray[Any], sent: Gate, scratch: NDArray[np.uint8], *, ours_first: bool
) -> Task:
    """Add the peer's whole array to ours as it arrives, and as far as ours is `sent`.

    Both ranks make the same additions with their operands in the same order. They cannot deadlock:
    the rank that has sent less always finds what it waits for.
    """
    position = 0
    for segment in segments(array):
        theirs = scratch[: segment.nbytes].view(segment.dtype)
        data = scratch[: segment.nbytes].data
        arrived = added = 0
        while added < len(segment):
            count = link.receive(data[arrived:]) if arrived < len(data) else 0
            arrived += count
            whole = min(arrived, sent.open - position) // segment.itemsize
            if whole > added:
                ours, others = segment[added:whole], theirs[added:whole]
                first, second = (ours, others) if ours_first else (others, ours)
                np.add(first, second, out=ours)
                added = whole
                yield MOVED
            elif arrived < len(data):
                yield MOVED if count else (link, select.POLLIN)
            else:
                yield MOVED if count else LATER
        position += segment.nbytes


def add_rounded(
    link: Link, array: NDArray[Any], sent: Gate, scratch: NDArray[np.uint8], *, ours_first: bool
) -> Task:
    """Do the same with an array of float32 that the peer sends as halves, in whole segments."""
    position = 0
    room = np.empty(SEGMENT_BYTES // array.itemsize, np.uint16)
    for segment in segments(array):
        theirs, halves = scratch[: segment.nbytes].view(segment.dtype), room[: len(segment)]
        yield from pull(link, halves.view(np.uint8).data)
        widen_to(theirs, halves)
        position += segment.nbytes
        while sent.open < position:
            yield LATER
        first, second = (segment, theirs) if ours_first else (theirs, segment)
        np.add(first, second, out=segment)
        yield MOVED


def take_in(
    link: Link, incoming: Sequence[NDArray[Any]], gate: Gate, scratch: NDArray[np.uint8], sums: int
) -> Task:
    """Add the first `sums` arriving segments to ours; let the rest replace ours."""
    for number, segment in enumerate(incoming):
        if number < sums:
            yield from _add_in(link, segment, scratch[: segment.nbytes])
        else:
            yield from pull(link, segment.view(np.uint8).data)
        gate.open += 1
        yield MOVED


def _add_in(link: Link, segment: NDArray[Any], room: NDArray[np.uint8]) -> Task:
    """Add what arrives to a segment, while it is still in the processor's cache."""
    theirs, data = room.view(segment.dtype), room.data
    arrived = added = 0
    while arrived < len(data):
        count = link.receive(data[arrived:])
        arrived += count
        whole = arrived // segment.itemsize
        ours = segment[added:whole]
        np.add(theirs[added:whole], ours, out=ours)
        added = whole
        if arrived < len(data):
            yield MOVED if count else (link, select.POLLIN)


def pass_on(link: Link, outgoing: Sequence[NDArray[Any]], gate: Gate) -> Task:
    """Send the segments as the gate opens for them."""
    for number, segment in enumerate(outgoing):
        while number >= gate.open:
            yield LATER
        yield from push(link, segment.view(np.uint8).data)
