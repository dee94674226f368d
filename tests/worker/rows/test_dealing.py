"""Rows of shards: every worker number has the same ones in each shard, in the same order."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, spec_of
from zoo.orca.wire.plans.canonical import shard_sizes
from zoo.orca.worker.rows import dealing, spool
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.dealing import Dealing
from zoo.orca.worker.rows.spool import Spool

pytestmark = pytest.mark.timeout(120)

SPEC = spec_of(a="int32", v=("float32", (2,)), b="bool", s="string")


class Gathering:
    """The collective of one of several threads."""

    def __init__(self, rank, messages, barrier):
        self.rank, self.size = rank, len(messages)
        self._messages, self._barrier = messages, barrier

    def all_gather(self, data):
        self._barrier.wait(20)
        self._messages[self.rank] = memoryview(bytes(data))
        self._barrier.wait(20)
        return list(self._messages)


def row(number):
    return (number, [number, number + 0.5], number % 3 == 0, f"row {number}".encode())


def spooled(directory, rows, arrival):
    """Spool blocks of (origin, numbers, shards) in the order in which they arrive."""
    directory.mkdir()
    spooling = Spool(str(directory), SPEC, False)
    for place in arrival:
        origin, numbers, shards = rows[place]
        if numbers:
            values = [row(n) for n in numbers]
            spooling.add(batch_of(SPEC, values, origin=origin, shards=shards))
    return spooling.finish().train.file


def by_shard(directory, shards, count, workers, seed):
    """Deal rows of three partitions, level them; return each shard's rows."""
    random = np.random.default_rng(seed)
    barrier, messages = threading.Barrier(workers), [None] * workers
    found, files = [None] * workers, []
    for rank in range(workers):
        mine = np.flatnonzero(shards % workers == rank)
        blocks = [(o, [n for n in mine.tolist() if n * 3 // len(shards) == o]) for o in range(3)]
        rows = [(o, numbers, shards[numbers]) for o, numbers in blocks]
        files.append(spooled(directory / str(rank), rows, random.permutation(3)))

    def run(rank):
        moving = Dealing(files[rank], count, Gathering(rank, messages, barrier))
        columns = open_rows(files[rank], SPEC, moving.level)
        found[rank] = {name: values[moving.order] for name, values in columns.items()}

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    goal, result = shard_sizes(len(shards), count), [None] * count
    for rank, columns in enumerate(found):
        for name, values in columns.items():
            assert len(values) == goal[rank::workers].sum(), name
        for number, v, b, s in zip(*(columns[name] for name in "avbs"), strict=True):
            expected = row(number)
            assert (v.tolist(), bool(b), s) == expected[1:]
        parts = np.split(columns["a"], np.cumsum(goal[rank::workers]))
        for shard, part in zip(range(rank, count, workers), parts, strict=False):
            result[shard] = part.tolist()
    return result


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    count=st.sampled_from([1, 3, 8, 30]),
    workers=st.integers(2, 5),
    seed=st.integers(0, 99),
    small=st.booleans(),
)
def test_shards_hold_the_same_rows_whatever_the_workers(
    tmp_path_factory, rows, count, workers, seed, small
):
    shards = np.random.default_rng(seed).integers(0, count, rows)
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(spool, "BLOCK_BYTES", 1)
            patch.setattr(dealing, "_MOST_PIECES", 1)
        alone = by_shard(tmp_path_factory.mktemp("one"), shards, count, 1, seed)
        assert alone == by_shard(tmp_path_factory.mktemp("more"), shards, count, workers, seed + 1)
    assert sorted(sum(alone, [])) == list(range(rows))
