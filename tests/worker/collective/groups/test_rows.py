"""Many hosts: the same sums with few links and messages; calls that do not match are found out."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.groups import layout, rows
from zoo.orca.worker.collective.groups.layout import rows_of
from zoo.orca.worker.collective.groups.rows import HostRows
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.sockets import Link

pytestmark = pytest.mark.timeout(60)

SMALL, LARGE = 7, rows._WHOLE_BYTES // 4 + 11
LARGER = rows._RING_BYTES // 4 + 5


@contextmanager
def many_hosts(count: int) -> Iterator[list[Ring]]:
    with ring_over([f"127.0.0.{1 + rank}" for rank in range(count)]) as rings:
        assert {type(ring._transport) for ring in rings} == {HostRows}
        yield rings


def by_rows(ranks: Sequence[int], count: int) -> np.ndarray:
    """The sum of small data in the order of additions: by row, then among the rows alike."""
    parts = []
    for row in rows_of(ranks):
        part = values(row[0], count, "float32")
        for rank in row[1:]:
            part = part + values(rank, count, "float32")
        parts.append(part)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


@pytest.mark.parametrize("meshed", [True, False])
def test_any_number_of_hosts(meshed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROW", 3)
    monkeypatch.setattr(layout, "MESHED_RANKS", 32 if meshed else 0)
    for count in (4, 5, 7, 9, 11):
        with many_hosts(count) as rings:
            for numbers in (0, SMALL, LARGE, 300_001, LARGER):
                found = on_all(rings, reduce_values, numbers, "float32")
                assert_is_sum(found, numbers, "float32")
            if count <= 9:  # two levels
                found = on_all(rings, reduce_values, SMALL, "float32")
                assert found[0].tobytes() == by_rows(range(count), SMALL).tobytes()
            check_the_rest(on_all(rings, all_operations), count)


@pytest.mark.parametrize("hosts", [16, 33, 64])
def test_messages_and_bytes_of_many_hosts(hosts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[int, list[int]] = {}
    send = Link.send

    def counted(link: Link, *parts: Any) -> int:
        done = send(link, *parts)
        if done:
            sent.setdefault(id(link), []).append(done)
        return done

    with many_hosts(hosts) as rings:
        on_all(rings, Ring.barrier)
        own = [{id(link) for link in ring._links} for ring in rings]
        with monkeypatch.context() as patch:
            patch.setattr(Link, "send", counted)
            on_all(rings, reduce_values, 1024, "float32")
            messages = [sum(len(sent.get(one, [])) for one in links) for links in own]
            sent.clear()
            on_all(rings, reduce_values, 100_000, "float32")
            largest = max(sum(sum(sent.get(one, [])) for one in links) for links in own)
    assert max(messages) <= 2 * math.log2(hosts) + 4
    least = 2 * (hosts - 1) / hosts * 400_000
    # Rows of different lengths cost something; even ones cost only the headers.
    even = len(set(map(len, rows_of(range(hosts))))) == 1
    assert largest <= least * (1.05 if even else 1.5)


def test_calls_that_do_not_match_are_found_where_ranks_never_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "ROW", 2)
    monkeypatch.setattr(layout, "MESHED_RANKS", 0)

    def call(ring: Ring) -> None:
        if ring.rank < 4:
            ring.barrier()
        elif ring.rank < 6:
            ring.all_gather(b"")
        else:
            reduce_values(ring, SMALL, "float32")

    with many_hosts(8) as rings:
        found = on_all(rings, call)
    assert all(isinstance(error, PeerLostError) for error in found), found
    assert any("called" in str(error) for error in found)


def test_a_lost_host_is_noticed_by_those_without_a_link_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "ROW", 2)
    monkeypatch.setattr(layout, "MESHED_RANKS", 0)
    with many_hosts(8) as rings:
        assert 7 not in {link.rank for link in rings[0]._links}

        def call(ring: Ring) -> None:
            if ring.rank == 7:
                ring.abort("lost")
            else:
                ring.barrier()

        found = on_all(rings[:], call)
    assert all(isinstance(error, PeerLostError) for error in found[:7]), found
