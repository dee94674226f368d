"""Several ranks on each of several hosts: any layout has the same sums, and sends as few bytes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from tests.worker.collective.ring_processes import on_all, ring_over
from tests.worker.collective.test_ring import (
    all_operations,
    assert_is_sum,
    check_the_rest,
    reduce_values,
    values,
)
from zoo.orca.worker.collective.groups.hosts import Hosts
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.segment import HALF_BYTES, Segment
from zoo.orca.worker.collective.sockets import Link
from zoo.orca.worker.collective.streams import Streams

pytestmark = pytest.mark.timeout(60)

#: The host of each rank.
LAYOUTS = ["AAB", "ABA", "ABBCCC", "ABCABC", "AABB"]


def laid_out(layout: str) -> AbstractContextManager[list[Ring]]:
    return ring_over([f"127.0.0.{ord(host) - 64}" for host in layout])


def by_layout(layout: str, count: int) -> np.ndarray:
    """The sum by rank within a host, then by host: exact for hosts that all send to all."""
    sums = {}
    for rank, host in enumerate(layout):
        part = values(rank, count, "float32")
        sums[host] = sums[host] + part if host in sums else part
    first, *others = sums.values()
    for part in others:
        first = first + part
    return first


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str) -> None:
    size = len(layout)
    with laid_out(layout) as rings:
        assert {type(ring._transport) for ring in rings} == {Hosts}
        for count in (0, 7, 4099, 41_003, HALF_BYTES // 4 + 3):
            found = on_all(rings, reduce_values, count, "float32")
            assert_is_sum(found, count, "float32")
            if count < 5000:
                assert found[0].tobytes() == by_layout(layout, count).tobytes()
        check_the_rest(on_all(rings, all_operations), size)


def test_a_host_sends_no_more_with_more_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, int] = {}
    send = Link.send

    def counted(link: Link, *parts: Any) -> int:
        done = send(link, *parts)
        sent["bytes"] = sent.get("bytes", 0) + done
        return done

    totals = []
    for layout in ("AAB", "AAAABBBB"):
        with laid_out(layout) as rings:
            on_all(rings, Ring.barrier)
            with monkeypatch.context() as patch:
                patch.setattr(Link, "send", counted)
                sent.clear()
                on_all(rings, reduce_values, 100_000, "float32")
            totals.append(sent["bytes"])
    # Only headers grow: those of the ranks that carry a share.
    assert all(2 * 400_000 <= total <= 2 * 400_000 + 200 for total in totals), totals


@pytest.mark.parametrize("layout", ["AAB", "ABA", "ABBCCC"])
def test_a_host_s_messages_are_merged_before_they_leave_it(layout: str) -> None:
    def merge(parts: Sequence[Any]) -> bytes:
        return b"+".join(bytes(part) for part in parts)

    def gather(ring: Ring) -> list[bytes]:
        return [bytes(part) for part in ring.all_gather(b"%d" % ring.rank, merge)]

    hosts = dict.fromkeys(layout, "")
    for rank, host in enumerate(layout):
        hosts[host] += f"+{rank}" if hosts[host] else f"{rank}"
    with laid_out(layout) as rings:
        for found in on_all(rings, gather):
            assert found == [whole.encode() for whole in hosts.values()]


def test_where_one_rank_cannot_share_all_use_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(offer: bytes) -> Segment:
        raise OSError("no such memory")

    monkeypatch.setattr(Segment, "open", refuse)
    with laid_out("AAB") as rings:
        assert {type(ring._transport) for ring in rings} == {Streams}
        assert_is_sum(on_all(rings, reduce_values, 11, "float32"), 11, "float32")
