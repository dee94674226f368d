"""Sums of rounded numbers: their values, equal bits on all ranks, half the bytes."""

from typing import Any

import numpy as np
import pytest

from tests.worker.collective.groups.test_hosts import laid_out
from tests.worker.collective.ring_processes import in_threads, on_all, thread_ring
from tests.worker.collective.test_ring import assert_is_sum, reduce_values, values
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.bfloat16 import rounded_of, widened
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.rounded import Rounded
from zoo.orca.worker.collective.sockets import EAGER_BYTES, Link
from zoo.orca.worker.collective.streams import _DIRECT_BYTES

pytestmark = pytest.mark.timeout(60)

#: Numbers: none, few, around what travels with the header, in several segments.
COUNTS = [0, 7, EAGER_BYTES // 2 - 1, EAGER_BYTES // 2 + 1, 700_001]


def reduce_rounded(ring: Ring, count: int, dtype: Any = "float32") -> np.ndarray:
    return reduce_values(Rounded(ring), count, dtype)


def through(array: np.ndarray) -> np.ndarray:
    return widened(rounded_of(array))


def by_rank(size: int, count: int) -> np.ndarray:
    """All ranks' rounded numbers, added as float32 from rank 0 up."""
    total = through(values(0, count, "float32"))
    for rank in range(1, size):
        total += through(values(rank, count, "float32"))
    return total


@pytest.mark.parametrize(("size", "identity"), [(2, False), (2, True), (3, False)])
def test_sums_over_sockets(size: int, identity: bool) -> None:
    options = {"identity": self_signed()} if identity else {}
    with thread_ring(size, share_memory=False, **options) as rings:
        for count in COUNTS:
            found = on_all(rings, reduce_rounded, count)
            expected = by_rank(size, count)
            if 2 * count * (size - 1) > _DIRECT_BYTES and size > 2:  # in shares
                expected = through(expected)
            for one in found:
                assert one.tobytes() == expected.tobytes()


def test_other_types_and_shared_memory_keep_their_digits() -> None:
    with thread_ring(2, share_memory=False) as rings:
        for dtype in ("float64", "int64", "float16"):
            found = on_all(rings, reduce_rounded, 50, dtype)
            exact = on_all(rings, reduce_values, 50, dtype)
            assert found[0].tobytes() == found[1].tobytes() == exact[0].tobytes()
    with thread_ring(2, share_memory=True) as rings:
        assert_is_sum(on_all(rings, reduce_rounded, 5003), 5003, "float32")


def test_several_ranks_of_a_host_send_their_sum() -> None:
    with laid_out("ABA") as rings:
        found = on_all(rings, reduce_rounded, 4099)
        near = values(0, 4099, "float32") + values(2, 4099, "float32")
        expected = through(near) + through(values(1, 4099, "float32"))
        for one in found:
            assert one.tobytes() == expected.tobytes()


@pytest.mark.parametrize("count", [5, 100_003])
def test_many_hosts(count: int) -> None:
    with laid_out("ABCDEFGHIJ") as rings:
        found = on_all(rings, reduce_rounded, count)
        exact = sum(values(rank, count, "float64") for rank in range(10))
        for one in found:
            assert one.tobytes() == found[0].tobytes()
        error = np.abs(found[0] - exact).max()
        assert 0 < error < 2**-6 * 10 * np.abs(exact).max()


@pytest.mark.parametrize(("size", "count"), [(2, 300_000), (3, 50_000), (3, 600_000)])
def test_half_the_bytes(monkeypatch: pytest.MonkeyPatch, size: int, count: int) -> None:
    sent: list[int] = []
    send = Link.send

    def counted(link: Link, *parts: Any) -> int:
        sent.append(send(link, *parts))
        return sent[-1]

    with thread_ring(size, share_memory=False) as rings:
        totals = []
        for reduce in (reduce_values, reduce_rounded):
            with monkeypatch.context() as patch:
                patch.setattr(Link, "send", counted)
                sent.clear()
                on_all(rings, reduce, count, "float32")
                totals.append(sum(sent))
    assert totals[1] < 0.51 * totals[0]


def test_ranks_that_do_not_all_round_are_told() -> None:
    with thread_ring(2, share_memory=False) as rings:
        first, second = in_threads(
            [lambda: reduce_rounded(rings[0], 9), lambda: reduce_values(rings[1], 9, "float32")]
        )
    assert isinstance(first, PeerLostError) and isinstance(second, PeerLostError)
    assert "all_reduce of f4" in str(first) and "all_reduce of b2" in str(first)
