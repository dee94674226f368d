"""Rows that change workers: all are there, once, in an order that depends on nothing else."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, spec_of
from zoo.orca.wire.plans.levelling import levelled
from zoo.orca.worker.rows import spool
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.levelling import level
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
        self._messages[self.rank] = memoryview(bytes(data))
        self._barrier.wait(20)
        return list(self._messages)


def row(number):
    return (number, [number, number + 0.5], number % 3 == 0, f"row {number}".encode())


def levelled_rows(directory: Path, counts, block_bytes=1 << 20):
    """Spool so many rows on each rank, level them; return each rank's columns, and the meetings."""
    files, first = [], 0
    for rank, count in enumerate(counts):
        (directory / str(rank)).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spool, "BLOCK_BYTES", block_bytes)
            spooling = Spool(str(directory / str(rank)), SPEC, False)
            for start in range(0, count, 4):
                some = range(first + start, first + min(count, start + 4))
                spooling.add(batch_of(SPEC, [row(number) for number in some], origin=start))
            files.append(spooling.finish().train.file)
        first += count
    barrier, messages = threading.Barrier(len(counts)), [None] * len(counts)
    group = [Gathering(rank, messages, barrier) for rank in range(len(counts))]
    found = [None] * len(counts)

    def run(rank):
        def move(batches):
            return level(batches, tuple(counts), group[rank])

        found[rank] = open_rows(files[rank], SPEC, move)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found, [one.met for one in group]


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=4).filter(any),
    block_bytes=st.sampled_from([1, 60, 1 << 20]),
)
def test_every_row_is_somewhere_once(tmp_path_factory, counts, block_bytes):
    found, met = levelled_rows(tmp_path_factory.mktemp("rows"), counts, block_bytes)
    goals = levelled(tuple(counts))
    assert tuple(len(columns["a"]) for columns in found) == goals
    numbers = np.concatenate([columns["a"] for columns in found]).tolist()
    assert sorted(numbers) == list(range(sum(counts)))
    for columns in found:
        for place, number in enumerate(columns["a"].tolist()):
            a, v, b, s = row(number)
            assert (columns["v"][place].tolist(), columns["b"][place]) == (v, b)
            assert columns["s"][place] == s
    # What stays lies in front, as it lay; what was given follows in the givers' order.
    firsts = np.cumsum([0, *counts])
    for rank, columns in enumerate(found):
        stays = min(counts[rank], goals[rank])
        expected = list(range(firsts[rank], firsts[rank] + stays))
        assert columns["a"][:stays].tolist() == expected
        assert columns["a"][stays:].tolist() == sorted(columns["a"][stays:].tolist())
    assert set(met) == {0 if goals == tuple(counts) else 1}


def test_a_worker_that_gives_reads_its_file_where_it_lies(tmp_path: Path) -> None:
    found, _ = levelled_rows(tmp_path, [9, 3])
    assert found[0]["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found[1]["a"].tolist() == [9, 10, 11, 6, 7, 8]
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert names == {"train.arrow", "train.arrow.shards"}
