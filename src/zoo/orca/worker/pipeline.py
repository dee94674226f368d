"""A stream that a rank takes in from its left neighbour and passes on to its right one.

It moves in segments: one that has come in, and was added to where sums are made, may go on while
the next one is still under way.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zoo.orca.worker.loop import LATER, MOVED, Task, pull, push
from zoo.orca.worker.sockets import Link

#: A segment stays in the processor's cache from its receipt until it is passed on.
SEGMENT_BYTES: Final = 128 << 10


class Gate:
    """How many segments may be passed on by now."""

    def __init__(self, count: int) -> None:
        self.open = count


def segments(array: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut a one-dimensional array into views of at most `SEGMENT_BYTES`."""
    step = SEGMENT_BYTES // array.itemsize
    return [array[start : start + step] for start in range(0, len(array), step)]


def swap_sums(
    link: Link, array: NDArray[Any], sent: Gate, scratch: NDArray[np.uint8], *, ours_first: bool
) -> Task:
    """Add the peer's whole array to ours, each segment once ours of the same place is `sent`.

    Both ranks do this at once with the same operands in the same order.
    """
    for number, segment in enumerate(segments(array)):
        theirs = scratch[: segment.nbytes]
        yield from pull(link, theirs.data)
        # The peer cannot wait in the same way for us: what it sent is what we have just received.
        while number >= sent.open:
            yield LATER
        part = theirs.view(segment.dtype)
        first, second = (segment, part) if ours_first else (part, segment)
        np.add(first, second, out=segment)
        yield MOVED


def push_counted(link: Link, array: NDArray[Any], sent: Gate, already: int) -> Task:
    """Send the array's segments, but for the bytes that went `already`, and count them."""
    for segment in segments(array):
        data = segment.view(np.uint8).data
        yield from push(link, data[already:])
        already = max(already - len(data), 0)
        sent.open += 1


def take_in(
    link: Link, incoming: Sequence[NDArray[Any]], gate: Gate, scratch: NDArray[np.uint8], sums: int
) -> Task:
    """Add what arrives for the first `sums` segments to ours; let the rest replace ours."""
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
