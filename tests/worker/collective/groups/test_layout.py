"""Who exchanges data with whom: everybody is reached, by few links."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.orca.worker.collective.groups import layout
from zoo.orca.worker.collective.groups.layout import partners, ranks_by_host, rows_of


@pytest.mark.parametrize(
    ("hosts", "groups"), [("AAA", [[0, 1, 2]]), ("ABA", [[0, 2], [1]]), ("BA", [[0], [1]])]
)
def test_ranks_by_host(hosts: str, groups: Sequence[Sequence[int]]) -> None:
    assert ranks_by_host([(host, 1) for host in hosts]) == groups


@given(count=st.integers(1, 3000))
def test_rows_are_as_even_as_can_be(count: int) -> None:
    rows = rows_of(range(count))
    assert [rank for row in rows for rank in row] == list(range(count))
    lengths = [len(row) for row in rows]
    assert max(lengths) <= layout.ROW
    assert max(lengths) - min(lengths) <= 1


@settings(max_examples=30, deadline=None)
@given(hosts=st.lists(st.integers(0, 30), min_size=1, max_size=150))
def test_partners_are_mutual_and_reach_everybody(hosts: list[int]) -> None:
    groups = ranks_by_host([(str(host), 1) for host in hosts])
    found = {rank: partners(rank, groups) for rank in range(len(hosts))}
    assert all(rank in found[other] for rank, others in found.items() for other in others)
    reached, fresh = {0}, {0}
    while fresh:
        fresh = {other for rank in fresh for other in found[rank]} - reached
        reached |= fresh
    assert reached == set(range(len(hosts)))


@pytest.mark.parametrize("hosts", [9, 16, 17, 64, 100, 512, 1000])
def test_links_grow_with_the_logarithm(hosts: int) -> None:
    groups = [[rank] for rank in range(hosts)]
    most = max(len(partners(rank, rows_of(range(hosts)))) for rank in range(hosts))
    assert most <= 3 * math.log2(hosts)
    assert max(len(partners(rank, groups)) for rank in range(0, hosts, 7)) <= most
