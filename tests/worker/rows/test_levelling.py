"""Rows that change workers: the sequence is the same on any number of workers, each row once."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, spec_of
from zoo.orca.wire.plans.levelling import levelled
from zoo.orca.worker.rows import sequence, spool
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.levelling import RankRows, level_as_they_lie
from zoo.orca.worker.rows.sequence import OwnRows
from zoo.orca.worker.rows.spool import Spool

pytestmark = pytest.mark.timeout(120)

SPEC = spec_of(a="int32", v=("float32", (2,)), b="bool", s="string")


class Gathering:
    """The collective of one of several threads; counts how often they met."""

    def __init__(self, rank, messages, barrier):
        self.rank, self.size = rank, len(messages)
        self.met = 0
        self._messages, self._barrier = messages, barrier

    def all_gather(self, data):
        self.met += 1
        self._barrier.wait(20)
        self._messages[self.rank] = memoryview(bytes(data))
        self._barrier.wait(20)
        return list(self._messages)


def row(number):
    return (number, [number, number + 0.5], number % 3 == 0, f"row {number}".encode())


def spooled(directory, numbers, places, seed):
    """Spool some rows of three partitions, whose blocks arrive in any order."""
    directory.mkdir()
    spooling = Spool(str(directory), SPEC, False)
    for origin in np.random.default_rng(seed).permutation(3):
        some = [number for number in numbers if number % 3 == origin]
        for start in range(0, len(some), 4):
            few = some[start : start + 4]
            rows = [row(number) for number in few]
            spooling.add(batch_of(SPEC, rows, origin=origin, places=[places[n] for n in few]))
    return spooling.finish().train.file


def at_each_rank(count, run):
    """Call `run` in one thread for each rank; return what each returns, and how often they met."""
    barrier, messages, found = threading.Barrier(count), [None] * count, [None] * count
    group = [Gathering(rank, messages, barrier) for rank in range(count)]

    def call(rank):
        found[rank] = run(rank, group[rank])

    threads = [threading.Thread(target=call, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found, [one.met for one in group]


def check_rows(columns):
    for number, v, b, s in zip(*(columns[name] for name in "avbs"), strict=True):
        assert (v.tolist(), bool(b), s) == row(number)[1:]


@st.composite
def placed(draw):
    """Rows by rank, with equal places among them, and the rows that each rank shall have."""
    rows, workers = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    places = draw(st.lists(st.integers(-9, 9), min_size=rows, max_size=rows))
    edges = sorted(draw(st.lists(st.integers(-9, 9), min_size=workers - 1, max_size=workers - 1)))
    ranks = np.searchsorted(edges, places, "right")
    held = [np.flatnonzero(ranks == rank).tolist() for rank in range(workers)]
    return places, held


@settings(max_examples=80)
@given(placed(), st.integers(0, 99), st.integers(1, 50), st.sampled_from([1, 60, 1 << 20]))
def test_the_sequence_is_the_same_on_any_number_of_workers(
    tmp_path_factory, given, seed, per_round, block_bytes
):
    places, held = given
    directory = tmp_path_factory.mktemp("rows")
    counts = tuple(map(len, held))
    ranks = RankRows(counts=counts, goals=levelled(counts), round=per_round)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BLOCK_BYTES", block_bytes)
        patch.setattr(sequence, "_MOST_PIECES", 2)
        files = [
            spooled(directory / str(rank), numbers, places, seed + rank)
            for rank, numbers in enumerate(held)
        ]

    def run(rank, collective):
        part = OwnRows(files[rank], ranks, collective)
        columns = open_rows(files[rank], SPEC, part.level)
        return {name: values[part.order] for name, values in columns.items()}

    found, met = at_each_rank(len(held), run)
    assert tuple(len(columns["a"]) for columns in found) == ranks.goals
    for columns in found:
        check_rows(columns)
    together = np.concatenate([columns["a"] for columns in found]).tolist()
    # Rows of one place come in the order of their partitions.
    assert together == sorted(range(len(places)), key=lambda n: (places[n], n % 3, n))
    assert len(set(met)) == 1 and (met[0] > 0) == (counts != ranks.goals)


@settings(max_examples=40)
@given(placed(), st.integers(1, 50), st.sampled_from([1, 60, 1 << 20]))
def test_rows_that_lie_as_they_came_are_there_once(tmp_path_factory, given, per_round, block_bytes):
    places, held = given
    directory = tmp_path_factory.mktemp("rows")
    counts = tuple(map(len, held))
    ranks = RankRows(counts=counts, goals=levelled(counts), round=per_round)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "BLOCK_BYTES", block_bytes)
        files = [
            spooled(directory / str(rank), numbers, places, 1) for rank, numbers in enumerate(held)
        ]

    def run(rank, collective):
        def move(batches):
            return level_as_they_lie(batches, ranks, collective)

        return open_rows(files[rank], SPEC, move)

    found, _ = at_each_rank(len(held), run)
    assert tuple(len(columns["a"]) for columns in found) == ranks.goals
    for columns in found:
        check_rows(columns)
    numbers = np.concatenate([columns["a"] for columns in found]).tolist()
    assert sorted(numbers) == list(range(len(places)))


def test_a_worker_that_only_gives_reads_its_file_where_it_lies(tmp_path):
    places = list(range(12))
    files = [
        spooled(tmp_path / str(rank), range(6 * rank, 6 * rank + 6), places, 1) for rank in (0, 1)
    ]
    ranks = RankRows(counts=(6, 6), goals=(5, 7), round=100)

    def run(rank, collective):
        part = OwnRows(files[rank], ranks, collective)
        return open_rows(files[rank], SPEC, part.level)["a"][part.order].tolist()

    found, _ = at_each_rank(2, run)
    assert found == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11]]
    assert not list((tmp_path / "0").glob("train.columns*"))
    assert not list((tmp_path / "1").glob("train.columns*"))
