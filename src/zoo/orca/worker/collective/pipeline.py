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
    link: Link,
    array: NDArray[Any],
    sent: Gate,
    scratch: NDArray[np.uint8],
    room: NDArray[np.uint16] | None = None,
    *,
    ours_first: bool,
) -> Task:
    """Add the peer's whole array to ours, each segment once ours of the same position is `sent`.

    Both ranks make the same additions with their operands in the same order. They cannot deadlock:
    the rank that has sent less always finds what it waits for. With `room` the peer sends halves.
    """
    position = 0
    for segment in segments(array):
        part = scratch[: segment.nbytes].view(segment.dtype)
        if room is None:
            yield from pull(link, part.view(np.uint8).data)
        else:
            halves = room[: len(segment)]
            yield from pull(link, halves.view(np.uint8).data)
            widen_to(part, halves)
        position += segment.nbytes
        while sent.open < position:
            yield LATER
        first, second = (segment, part) if ours_first else (part, segment)
        np.add(first, second, out=segment)
        yield MOVED


def take_in(
    link: Link, incoming: Sequence[NDArray[Any]], gate: Gate, scratch: NDArray[np.uint8], sums: int
) -> Task:
    """Add the first `sums` arriving segments to ours; let the rest replace ours."""
    for number, segment in enumerate(incoming):
        if number < sums:
            theirs = scratch[: segment.nbytes]
            yield from pull(link, theirs.data)
            np.add(theirs.view(segment.dtype), segment, out=segment)
        else:
            yield from pull(link, segment.view(np.uint8).data)
        gate.open += 1
        yield MOVED


def pass_on(link: Link, outgoing: Sequence[NDArray[Any]], gate: Gate) -> Task:
    """Send the segments as the gate opens for them."""
    for number, segment in enumerate(outgoing):
        while number >= gate.open:
            yield LATER
        yield from push(link, segment.view(np.uint8).data)
