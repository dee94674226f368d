"""The fused sum of gradients, over threads that stand for ranks."""

import threading

import numpy as np
import pytest

from zoo.orca.frameworks.gradients.fused_sum import FusedSum
from zoo.orca.frameworks.gradients.layout import GradientSpec

pytestmark = pytest.mark.timeout(300)

F16, F32, F64 = (np.dtype(name) for name in ("float16", "float32", "float64"))


class Threads:
    """A collective of threads: everybody's data meets at a barrier."""

    def __init__(self, size, a_host=1):
        self.size, self.a_host, self.calls = size, a_host, []
        self._slots = [None] * size
        self._barrier = threading.Barrier(size)

    def member(self, rank):
        return Member(self, rank)

    def meet(self, rank, data):
        self._slots[rank] = data
        self._barrier.wait(30)
        found = list(self._slots)
        self._barrier.wait(30)
        return found


class Member:
    def __init__(self, group, rank):
        self.group, self.rank, self.size = group, rank, group.size
        self.calls = []

    def all_reduce(self, array):
        self.calls.append("all_reduce")
        total = sum(self.group.meet(self.rank, array.copy()))
        array[...] = total

    def all_gather(self, data, merge=None):
        self.calls.append("all_gather")
        found, a_host = self.group.meet(self.rank, bytes(data)), self.group.a_host
        if merge is None or a_host == 1:
            return found
        # A copy, because the next merge writes where this one did.
        hosts = [found[first : first + a_host] for first in range(0, len(found), a_host)]
        return [bytes(merge(host)) for host in hosts]


def exchange(specs, shares, arrays, *, keep_rows=False, repeat=1, rounded=False, a_host=1):
    """What each rank's sum returns, and the calls it made in its last step."""
    group, results = Threads(len(shares), a_host), [None] * len(shares)

    def run(rank):
        member = group.member(rank)
        if rounded:
            member.exact = member
        fused = FusedSum(member, specs, keep_rows=keep_rows)
        for _ in range(repeat):
            member.calls.clear()
            results[rank] = fused(shares[rank], sum(shares), *arrays[rank]), list(member.calls)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for found, _ in results[1:]:
        for ours, theirs in zip(results[0][0], found, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    return results[0]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_dense_gradients_are_weighed_by_rows(size):
    random = np.random.default_rng(0)
    specs = [
        GradientSpec(shape=(3, 5), dtype=F32, sparse=False),
        GradientSpec(shape=(7,), dtype=F64, sparse=False),
    ]
    specs += [
        GradientSpec(shape=(), dtype=F32, sparse=False),
        GradientSpec(shape=(2, 2), dtype=F16, sparse=False),
    ]
    shares = [5, 2, 1][:size]
    arrays = [[random.normal(size=s.shape).astype(s.dtype) for s in specs] for _ in shares]
    found, calls = exchange(specs, shares, arrays, repeat=3)
    for k, spec in enumerate(specs):
        expected = sum(a[k].astype(F64) * n for a, n in zip(arrays, shares, strict=True))
        assert found[k].dtype == spec.dtype
        tolerance = 1e-3 if spec.dtype == F16 else 1e-6
        np.testing.assert_allclose(found[k], expected / sum(shares), tolerance, tolerance)
    assert calls == ["all_reduce", "all_reduce"]


def test_rank_without_rows_gives_nothing_not_even_nan():
    specs = [
        GradientSpec(shape=(3,), dtype=F32, sparse=False),
        GradientSpec(shape=(9, 2), dtype=F32, sparse=True),
    ]
    good = [np.ones(3, F32), np.ones((1, 2), F32), np.array([4])]
    bad = [np.full(3, np.nan, F32), np.full((1, 2), np.nan, F32), np.array([0])]
    (dense, values, indices), _ = exchange(specs, [2, 0], [good, bad], keep_rows=True)
    np.testing.assert_array_equal(dense, np.ones(3))
    np.testing.assert_array_equal(values, np.ones((1, 2)))
    assert indices.tolist() == [4]


def test_rounded_rows_are_the_same_on_all_ranks_and_near():
    random = np.random.default_rng(0)
    specs = [
        GradientSpec(shape=(3,), dtype=F32, sparse=False),
        GradientSpec(shape=(90, 2), dtype=F32, sparse=True),
        GradientSpec(shape=(90, 2), dtype=F64, sparse=True),
    ]
    arrays = []
    for rank in range(2):
        rows, numbers = random.normal(size=(4, 2)), np.arange(4) + rank
        arrays.append([np.full(3, 1.1, F32), rows.astype(F32), numbers, rows, numbers])
    found, calls = exchange(specs, [1, 1], arrays, rounded=True)
    exact, _ = exchange(specs, [1, 1], arrays)
    assert calls[-1] == "all_gather"
    assert 0 < np.abs(found[1] - exact[1]).max() <= 2**-8 * np.abs(exact[1]).max()
    for k in (0, 2, 3, 4):
        np.testing.assert_array_equal(found[k], exact[k])


def dense_of(values, indices, shape):
    found = np.zeros(shape)
    np.add.at(found, indices, values)
    return found


@pytest.mark.parametrize(
    ("rows", "keep", "as_rows"), [(4, False, True), (90, False, False), (90, True, True)]
)
def test_sparse_gradients_travel_as_the_fewer_bytes(rows, keep, as_rows):
    random = np.random.default_rng(0)
    specs = [
        GradientSpec(shape=(50, 3), dtype=F32, sparse=True),
        GradientSpec(shape=(4,), dtype=F32, sparse=False),
    ]
    arrays = [
        [
            random.normal(size=(rows + k, 3)).astype(F32),
            random.integers(0, 40, rows + k).astype(np.int32),
            random.normal(size=4).astype(F32),
        ]
        for k in range(2)
    ]
    (values, indices, dense), calls = exchange(specs, [3, 1], arrays, keep_rows=keep, repeat=2)
    expected = sum(
        dense_of(a[0], a[1], (50, 3)) * w for a, w in zip(arrays, (0.75, 0.25), strict=True)
    )
    np.testing.assert_allclose(dense_of(values, indices, (50, 3)), expected, 1e-5, 1e-5)
    np.testing.assert_allclose(dense, arrays[0][2] * 0.75 + arrays[1][2] * 0.25, rtol=1e-6)
    touched = set(arrays[0][1].tolist()) | set(arrays[1][1].tolist())
    assert set(indices.tolist()) == touched
    assert len(indices) == (2 * rows + 1 if as_rows else len(touched))
    # One round trip: a small dense gradient rides along with the rows.
    assert calls == (["all_gather"] if as_rows else ["all_reduce"])


def test_results_are_not_overwritten_while_somebody_holds_them():
    class Alone:
        rank, size = 0, 1

        def all_reduce(self, array):
            pass

    fused = FusedSum(Alone(), [GradientSpec(shape=(4,), dtype=F32, sparse=False)], keep_rows=False)
    (first,) = fused(1, 1, np.ones(4, F32))
    (second,) = fused(1, 1, np.zeros(4, F32))
    assert first.tolist() == [1.0] * 4 and second.tolist() == [0.0] * 4
    assert first.ctypes.data % 64 == 0
    place = first.ctypes.data
    del first
    (third,) = fused(1, 1, np.full(4, 2, F32))
    assert third.ctypes.data == place


@pytest.mark.parametrize("rounded", [False, True])
def test_ranks_of_one_host_send_each_row_once(rounded):
    random = np.random.default_rng(3)
    specs = [
        GradientSpec(shape=(50, 4), dtype=F32, sparse=True),
        GradientSpec(shape=(3,), dtype=F32, sparse=False),
        GradientSpec(shape=(60, 2), dtype=F64, sparse=True),
    ]
    shares, arrays = [3, 0, 2, 4], []
    for _ in shares:
        numbers = [random.integers(0, 6, 5), random.integers(0, 60, 4)]
        first, last = random.normal(size=(5, 4)).astype(F32), random.normal(size=(4, 2))
        arrays.append([first, numbers[0], random.normal(size=3).astype(F32), last, numbers[1]])
    alone, _ = exchange(specs, shares, arrays, repeat=2)
    merged, _ = exchange(specs, shares, arrays, repeat=2, a_host=2, rounded=rounded)
    room = 2e-2 if rounded else 1e-6
    np.testing.assert_allclose(merged[2], alone[2], room)
    for place, spec in ((0, specs[0]), (3, specs[2])):
        tables = []
        for values, numbers in (
            (alone[place], alone[place + 1]),
            (merged[place], merged[place + 1]),
        ):
            table = np.zeros(spec.shape)
            np.add.at(table, numbers, values)
            tables.append(table)
        np.testing.assert_allclose(tables[1], tables[0], room, room)
        first = set(arrays[0][place + 1])  # the host's other rank has no rows of the step
        assert sorted(merged[place + 1][: len(first)]) == sorted(first)
        assert len(merged[place + 1]) < len(alone[place + 1])


def test_rows_that_must_stay_apart_are_not_merged():
    specs = [GradientSpec(shape=(50, 4), dtype=F32, sparse=True)]
    arrays = [[np.ones((2, 4), F32), np.array([7, 7])]] * 2
    (_, numbers), _ = exchange(specs, [1, 1], arrays, keep_rows=True, a_host=2)
    assert numbers.tolist() == [7, 7, 7, 7]
