"""Streams of segments: sums do not depend on the pieces in which data arrives."""

from itertools import cycle
from typing import Any, cast

import numpy as np
import pytest

from zoo.orca.worker.collective.pipeline import SEGMENT_BYTES, Gate, add_theirs, take_in
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.transfers import LATER

COUNT = SEGMENT_BYTES // 4 + 1000


class Arriving:
    """A link on which bytes arrive in pieces, some of which end within a number, or are empty."""

    fd = -1

    def __init__(self, data: np.ndarray) -> None:
        self._data = data.view(np.uint8).data
        self._sizes = cycle([70_001, 0, 3, 130_000])

    def receive(self, view: memoryview) -> int:
        count = min(len(view), len(self._data), next(self._sizes))
        view[:count], self._data = self._data[:count], self._data[count:]
        return count


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    ours, theirs = random.standard_normal((2, COUNT)).astype(np.float32)
    return ours, theirs


def run(task: Any, sent: Gate, step: int) -> None:
    """Run a task to its end, sending some bytes whenever it waits for that."""
    for want in task:
        if want is LATER:
            sent.open += step


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("sent", [0, 10**9])
def test_theirs_is_added_whatever_the_pieces(ours_first: bool, sent: int) -> None:
    ours, theirs = arrays()
    expected = ours + theirs
    link, scratch = cast(Link, Arriving(theirs)), np.empty(SEGMENT_BYTES, np.uint8)
    gate = Gate(sent)
    run(add_theirs(link, ours, gate, scratch, ours_first=ours_first), gate, 50_003)
    np.testing.assert_array_equal(ours, expected)
    assert sent or gate.open >= ours.nbytes


def test_nothing_is_replaced_before_it_was_sent() -> None:
    ours, theirs = arrays()
    before, gate = ours.copy(), Gate(4000)
    link, scratch = cast(Link, Arriving(theirs)), np.empty(SEGMENT_BYTES, np.uint8)
    for want in add_theirs(link, ours, gate, scratch, ours_first=True):
        if want is LATER:
            break
    np.testing.assert_array_equal(ours[1000:], before[1000:])
    np.testing.assert_array_equal(ours[:1000], (before + theirs)[:1000])


def test_partial_sums_and_then_sums_are_taken_in() -> None:
    ours, theirs = arrays()
    half = SEGMENT_BYTES // 8
    expected = np.concatenate([theirs[:half] + ours[:half], theirs[half : 2 * half]])
    link, scratch, gate = cast(Link, Arriving(theirs)), np.empty(SEGMENT_BYTES, np.uint8), Gate(0)
    run(take_in(link, [ours[:half], ours[half : 2 * half]], gate, scratch, 1), gate, 0)
    np.testing.assert_array_equal(ours[: 2 * half], expected)
    assert gate.open == 2
