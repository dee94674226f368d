"""Memory that ranks of one host share: the sums, the waiting, the end, and what is done without."""

import contextlib
import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.collective.ring_processes import (
    Listener,
    connect_all,
    everywhere,
    in_threads,
    on_all,
    process_ring,
    shares_memory,
    thread_ring,
)
from tests.worker.collective.test_ring import DTYPES, lost, reduce_values, values
from zoo.orca.worker.collective import segment
from zoo.orca.worker.collective import shared_memory as shared
from zoo.orca.worker.collective import transfers as loop
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.segment import HALF_BYTES, Segment

pytestmark = pytest.mark.timeout(60)

HALF = HALF_BYTES // 8
#: Elements of float64: below and above the limits of a step, of a slice, and of several steps.
COUNTS = st.one_of(
    st.integers(0, 6000),
    st.sampled_from([HALF // 2 - 1, HALF // 2, HALF // 2 + 1, HALF - 1, HALF, HALF + 1]),
    st.integers(HALF, 3 * HALF),
)


@pytest.fixture(scope="module", params=[8, 2], ids=["whole", "sliced"])
def rings(request):
    """Rings of 2, 3 and 4 threads; three and four add in slices, as many ranks do, or do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_SLICED_RANKS", request.param)
        with thread_ring(2) as two, thread_ring(3) as three, thread_ring(4) as four:
            yield {2: two, 3: three, 4: four}


@pytest.fixture(scope="module")
def socket_rings():
    """The same over sockets."""
    with (
        thread_ring(2, share_memory=False) as two,
        thread_ring(3, share_memory=False) as three,
    ):
        yield {2: two, 3: three}


# --- values ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(size=st.sampled_from([2, 3, 4]), count=COUNTS, dtype=st.sampled_from(DTYPES))
def test_every_sum_is_made_in_rank_order(rings, size: int, count: int, dtype: str) -> None:
    expected = values(0, count, dtype)
    for rank in range(1, size):
        expected = expected + values(rank, count, dtype)
    for result in on_all(rings[size], reduce_values, count, dtype):
        assert result.tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(
    shape=st.one_of(
        st.tuples(st.just(2), st.integers(0, 400_000)),
        st.tuples(st.just(3), st.integers(0, 100_000)),  # above, sockets add around the ring
    ),
    dtype=st.sampled_from(["float16", "float32", "int32"]),
)
def test_memory_and_sockets_give_the_same_bits(
    rings, socket_rings, shape: tuple[int, int], dtype: str
) -> None:
    size, count = shape
    through_memory = on_all(rings[size], reduce_values, count, dtype)
    through_sockets = on_all(socket_rings[size], reduce_values, count, dtype)
    assert [a.tobytes() for a in through_memory] == [a.tobytes() for a in through_sockets]


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(0, 2 * HALF_BYTES + 9), min_size=4, max_size=4))
def test_gather_in_several_steps(rings, lengths: list[int]) -> None:
    random = np.random.default_rng(0)
    data = [random.bytes(length) for length in lengths]
    for result in on_all(rings[4], lambda ring: ring.all_gather(data[ring.rank])):
        assert [bytes(part) for part in result] == data


def test_what_was_gathered_outlives_the_next_operations(rings) -> None:
    def gather(ring: Ring) -> list[bytes]:
        kept = ring.all_gather(bytes([ring.rank]) * 10)
        for _ in range(4):
            ring.all_gather(b"other data")
        return [bytes(part) for part in kept]

    expected = [bytes([rank]) * 10 for rank in range(3)]
    assert on_all(rings[3], gather) == [expected] * 3


@settings(max_examples=20)
@given(length=st.integers(0, 2 * HALF_BYTES + 9), root=st.integers(0, 3))
def test_broadcast_in_several_steps(rings, length: int, root: int) -> None:
    data = np.random.default_rng(1).bytes(length)
    results = on_all(rings[4], lambda r: r.broadcast(data if r.rank == root else None, root))
    assert [bytes(result) for result in results] == [data] * 4


# --- waiting -----------------------------------------------------------------------------------


def many_barriers(ring: Ring, count: int) -> int:
    """Come to each at another moment, before and after the others have gone to sleep."""
    # A bell that is not rung stays unheard for longer than the test may take.
    loop._LONGEST_BELL_SECONDS = 3600.0
    random = np.random.default_rng(ring.rank)
    for pause in random.choice([0.0, 0.0, 20e-6, 50e-6, 70e-6, 200e-6], count):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass
        ring.barrier()
    return count


@pytest.mark.parametrize("size", [2, 3])
def test_no_bell_stays_unheard(size: int) -> None:
    with process_ring(size) as ranks:
        assert everywhere(ranks, many_barriers, 5000) == [5000] * size


def test_who_waits_for_long_sleeps(rings) -> None:
    def wait_for_it(ring: Ring) -> float:
        if ring.rank == 1:
            time.sleep(1)
            ring.barrier()
            return 0.0
        begin = time.thread_time()
        ring.barrier()
        return time.thread_time() - begin

    assert max(on_all(rings[2], wait_for_it)) < 0.2


def barrier_in_time(ring: Ring) -> None:
    ring.timeout = 2.0
    ring.barrier()


def test_a_frozen_peer_is_named_when_the_time_is_up() -> None:
    with process_ring(3) as ranks:
        everywhere(ranks, reduce_values, 10, "float32")
        os.kill(ranks[1].process.pid, signal.SIGSTOP)
        ranks[0].start(barrier_in_time)
        message = lost(ranks[0].result())
    assert "longer than its limit of 2 s" in message and "rank 1" in message


# --- the end -----------------------------------------------------------------------------------


def descriptors(pid: int | str = "self") -> set[str]:
    """The memory and the pipes that a process has open: number and what it is."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            found.add(f"{link.name} {os.readlink(link)}")
    return {name for name in found if any(w in name for w in ("memfd", "pipe", "/dev/shm"))}


def assert_nameless(found: set[str]) -> None:
    """No file is left to delete, whatever happens to the processes."""
    memory = {name for name in found if "pipe" not in name}
    assert memory and all(name.endswith("(deleted)") for name in memory), found


@pytest.mark.parametrize("memfd", [True, False])
@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_stays_open(monkeypatch: pytest.MonkeyPatch, memfd: bool, end: str) -> None:
    if not memfd:
        monkeypatch.delattr(os, "memfd_create")
    before = descriptors()
    with thread_ring(3) as rings:
        assert_nameless(descriptors() - before)
        on_all(rings, reduce_values, 100, "float32")
        for ring in rings:
            getattr(ring, end)()
        assert descriptors() == before


def test_a_killed_rank_leaves_nothing() -> None:
    with process_ring(2) as ranks:
        everywhere(ranks, reduce_values, 10, "float32")
        for rank in ranks:
            assert_nameless(descriptors(rank.process.pid))


# --- what is done without ----------------------------------------------------------------------


def connect(size: int = 3, **options: Any) -> list[Ring]:
    rings = connect_all([Listener() for _ in range(size)], **options)
    assert all(isinstance(ring, Ring) for ring in rings), rings
    return rings


def assert_all_use_sockets(rings: list[Ring], before: set[str]) -> None:
    assert [shares_memory(ring) for ring in rings] == [False] * len(rings)
    assert descriptors() == before
    results = on_all(rings, reduce_values, 50_000, "int64")
    assert all(np.array_equal(result, results[0]) for result in results)
    for ring in rings:
        ring.close()


def fail_once(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int) -> None:
    """Let the first call of a function fail: one rank cannot, all others can."""
    real, calls = getattr(where, name), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(code, os.strerror(code))
        return real(*arguments)

    monkeypatch.setattr(where, name, failing)


@pytest.mark.parametrize(
    ("where", "name", "code"),
    [
        (segment, "_anonymous_file", errno.ENOSYS),
        (os, "posix_fallocate", errno.ENOSPC),
        (os, "pipe2", errno.EMFILE),
        (segment, "_open_place", errno.EACCES),
        (segment.mmap, "mmap", errno.ENOMEM),
    ],
)
def test_where_one_rank_cannot_all_use_sockets(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, code: int
) -> None:
    before = descriptors()
    fail_once(monkeypatch, where, name, code)
    assert_all_use_sockets(connect(), before)


def test_where_one_rank_is_not_willing_all_use_sockets() -> None:
    before = descriptors()
    listeners = [Listener() for _ in range(3)]
    addresses = [listener.address for listener in listeners]
    rings = in_threads(
        [
            lambda rank=rank: Ring.connect(
                listeners[rank], rank, addresses, b"s" * 32, share_memory=rank != 1
            )
            for rank in range(3)
        ]
    )
    assert_all_use_sockets(rings, before)


def test_memory_of_another_host_is_not_taken_for_a_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers have the same addresses, process ids and file numbers at times."""
    before = descriptors()
    real = Segment.offer

    def offer(self: Segment) -> bytes:
        told = real(self)
        self.token[:] = bytes(len(self.token))
        return told

    monkeypatch.setattr(Segment, "offer", offer)
    assert_all_use_sockets(connect(2), before)


def test_what_is_not_memory_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[Any] = []
    real = os.open
    with (tmp_path / "other").open("w") as other, contextlib.closing(Segment.create()) as mine:
        place = (other.fileno(), *segment._place(mine._memory)[1:])
        monkeypatch.setattr(os, "open", lambda *a: opened.append(a) or real(*a))
        with pytest.raises(OSError, match="not what the peer named"):
            segment._open_place(os.getpid(), place, os.O_RDWR)
        with pytest.raises(FileNotFoundError):
            segment._open_place(os.getpid(), (10**6, *place[1:]), os.O_RDWR)
    assert not opened
