"""The ring against numpy, and against everything that can happen to a network peer."""

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.worker.collective import ring_processes
from tests.worker.collective.ring_processes import (
    everywhere,
    in_threads,
    on_all,
    process_ring,
    thread_ring,
)
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.groups import layout
from zoo.orca.worker.collective.protocol import Alone, Collective
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.collective.sockets import EAGER_BYTES

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(
    scope="module", params=["memory", "hosts", "rows", "sockets", "encrypted"], autouse=True
)
def share_memory(request) -> Iterator[None]:
    """Everything here holds for every transport."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_processes, "SHARE_MEMORY", request.param in ("memory", "hosts"))
        patch.setattr(ring_processes, "HOSTS", {"hosts": 2, "rows": 100}.get(request.param, 1))
        if request.param == "rows":
            patch.setattr(ring_processes, "ROW", 2)
            patch.setattr(layout, "ROW", 2)
            patch.setattr(layout, "MESHED_RANKS", 0)
        if request.param == "encrypted":
            patch.setattr(ring_processes, "IDENTITY", self_signed())
        yield


DTYPES = ["float16", "float32", "float64", "int32", "int64"]
#: Elements of float32: empty, odd, around the eager limit, direct, and around the ring.
COUNTS = [0, 1, 7, EAGER_BYTES // 4 - 1, EAGER_BYTES // 4 + 1, 41_003, 400_009]


def values(rank: int, count: int, dtype: Any) -> np.ndarray:
    """Numbers whose sum depends on the order of additions, different on every rank."""
    random = np.random.default_rng(100 + rank)
    return (random.standard_normal(count) * 100).astype(dtype)


def reduce_values(ring: Collective, count: int, dtype: Any) -> np.ndarray:
    array = values(ring.rank, count, dtype)
    ring.all_reduce(array)
    return array


def assert_is_sum(results: list[Any], count: int, dtype: Any) -> None:
    """Every rank has the same bits, and they are the sum up to float order."""
    for result in results:
        assert isinstance(result, np.ndarray), result
        assert result.tobytes() == results[0].tobytes()
    parts = [values(rank, count, dtype) for rank in range(len(results))]
    if np.dtype(dtype).kind == "i":
        np.testing.assert_array_equal(results[0], sum(parts))
    else:
        exact = sum(part.astype("float64") for part in parts)
        room = {"float16": 2e-2, "float32": 1e-5}.get(np.dtype(dtype).name, 1e-12)
        np.testing.assert_allclose(results[0].astype("float64"), exact, rtol=room, atol=room * 400)


# --- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_all_operations_between_processes(size: int) -> None:
    with process_ring(size) as ranks:
        for count in COUNTS:
            for dtype in DTYPES:
                results = everywhere(ranks, reduce_values, count, dtype)
                assert_is_sum(results, count, dtype)
        check_the_rest(everywhere(ranks, all_operations), size)


def test_sixteen_processes() -> None:
    with process_ring(16) as ranks:
        for count in (5, 41_003, 400_009):
            assert_is_sum(everywhere(ranks, reduce_values, count, "float32"), count, "float32")
        check_the_rest(everywhere(ranks, all_operations), 16)


def all_operations(ring: Collective) -> dict[str, Any]:
    """One of each, small and large; lengths differ from rank to rank, and rank 0's is empty."""
    ring.barrier()
    last = ring.size - 1
    large = b"large" * 100_000
    return {
        "small": [bytes(b) for b in ring.all_gather(b"x" * ring.rank)],
        "large": [len(b) for b in ring.all_gather(b"y" * (ring.rank * 70_001))],
        "first": bytes(ring.broadcast(b"hello" if ring.rank == 0 else None)),
        "last": bytes(ring.broadcast(large if ring.rank == last else None, root=last)) == large,
        "empty": bytes(ring.broadcast(b"" if ring.rank == last else None, root=last)),
        "after": reduce_values(ring, 11, "int64"),
    }


def check_the_rest(results: list[Any], size: int) -> None:
    for result in results:
        assert isinstance(result, dict), result
        assert result["small"] == [b"x" * rank for rank in range(size)]
        assert result["large"] == [rank * 70_001 for rank in range(size)]
        assert (result["first"], result["last"], result["empty"]) == (b"hello", True, b"")
    assert_is_sum([result["after"] for result in results], 11, "int64")


def test_alone_is_a_ring_of_one() -> None:
    check_the_rest([all_operations(Alone())], 1)


@pytest.fixture(scope="module")
def rings(share_memory):
    """Rings of 2, 3 and 5 threads that the tests of values share."""
    with thread_ring(2) as two, thread_ring(3) as three, thread_ring(5) as five:
        yield {2: two, 3: three, 5: five}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.sampled_from([2, 3, 5]),
    count=st.one_of(st.integers(0, 300), st.integers(0, 150_000)),
    dtype=st.sampled_from(DTYPES),
)
def test_any_length_and_type(rings, size: int, count: int, dtype: str) -> None:
    assert_is_sum(on_all(rings[size], reduce_values, count, dtype), count, dtype)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(0, 100_000), min_size=3, max_size=3))
def test_gather_of_any_lengths(rings, lengths: list[int]) -> None:
    data = [bytes([rank]) * length for rank, length in enumerate(lengths)]
    for result in on_all(rings[3], lambda ring: ring.all_gather(data[ring.rank])):
        assert [bytes(part) for part in result] == data


@pytest.mark.parametrize("count", [10, 300_000])
def test_bfloat16(rings, count: int) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    def reduce(ring: Ring) -> np.ndarray:
        array = np.full(count, ring.rank + 1, ml_dtypes.bfloat16)
        ring.all_reduce(array)
        return array.astype("float32")

    for result in on_all(rings[3], reduce):
        np.testing.assert_array_equal(result, 6.0)


@pytest.mark.parametrize("shape", [(), (3, 0), (2, 3, 5), (200, 300, 5)])
def test_any_shape_in_place(rings, shape: tuple[int, ...]) -> None:
    arrays = [np.full(shape, rank + 1.0) for rank in range(3)]
    on_all(rings[3], lambda ring: ring.all_reduce(arrays[ring.rank]))
    for array in arrays:
        assert array.shape == shape
        np.testing.assert_array_equal(array, 6.0)


def test_a_strange_value_is_nobodys_warning(rings) -> None:
    """Overflow and NaN travel on; which rank adds them is chance, so none may stumble over them."""

    def reduce(ring: Ring) -> np.ndarray:
        array = np.array([60_000, np.inf * (-1) ** ring.rank, np.nan], "float16")
        ring.all_reduce(array)
        return array

    for result in on_all(rings[3], reduce):
        assert np.isinf(result[0]) and np.isnan(result[1:]).all()


def test_gather_returns_ones_own_data(rings) -> None:
    data = [b"a", b"b"]
    gathered = on_all(rings[2], lambda ring: ring.all_gather(data[ring.rank]))
    assert gathered[0][0] is data[0] and gathered[1][1] is data[1]


def test_arrays_that_cannot_be_summed_in_place(rings) -> None:
    ring = rings[2][0]
    read_only = np.zeros(3)
    read_only.flags.writeable = False
    unfit = [np.zeros((4, 4))[:, ::2], np.asfortranarray(np.zeros((3, 4))), read_only]
    unfit += [np.zeros(3, object), np.zeros(3, ">f4"), np.zeros(3, "M8[s]"), np.zeros(3, bool)]
    for array in unfit:
        with pytest.raises(ValueError, match="all_reduce"):
            ring.all_reduce(array)
    assert_is_sum(on_all(rings[2], reduce_values, 5, "float32"), 5, "float32")


def test_broadcast_checks_who_passes_data(rings) -> None:
    ring = rings[2][0]
    for data, root in [(None, 0), (b"x", 1), (b"x", 2), (b"x", -1)]:
        with pytest.raises(ValueError, match="broadcast"):
            ring.broadcast(data, root)


# --- calls that do not match --------------------------------------------------------------------


def lost(result: Any) -> str:
    """Return the message of a PeerLostError; anything else fails the test."""
    assert isinstance(result, PeerLostError), result
    return str(result)


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (lambda r: r.barrier(), lambda r: r.all_gather(b"x"), ("barrier", "all_gather")),
        (
            lambda r: r.all_reduce(np.zeros(2, "f4")),
            lambda r: r.all_reduce(np.zeros(3, "f4")),
            ("8 bytes", "12 bytes"),
        ),
        (
            lambda r: r.all_reduce(np.zeros(2, "f4")),
            lambda r: r.all_reduce(np.zeros(2, "i4")),
            ("f4", "i4"),
        ),
        (
            lambda r: r.all_reduce(np.zeros(2, "f4")),
            lambda r: r.all_reduce(np.zeros(900_000, "f4")),
            ("8 bytes", "3600000 bytes"),
        ),
        (
            lambda r: r.broadcast(b"x" if r.rank == 0 else None, 0),
            lambda r: r.broadcast(b"x" if r.rank == 1 else None, 1),
            ("rank 0", "rank 1"),
        ),
    ],
)
def test_mismatched_calls_are_named(mine, theirs, words) -> None:
    with thread_ring(3) as rings:
        begin = time.monotonic()
        results = on_all(rings, lambda ring: (theirs if ring.rank == 1 else mine)(ring))
        assert time.monotonic() - begin < 5
    messages = [lost(result) for result in results]
    assert any(all(word in message for word in words) for message in messages), messages


def test_three_broadcasts_in_a_circle_do_not_hang() -> None:
    with thread_ring(3) as rings:
        for result in on_all(rings, lambda ring: ring.broadcast(None, (ring.rank + 1) % 3)):
            lost(result)


def test_a_failure_is_for_good() -> None:
    with thread_ring(2) as rings:
        calls = [rings[0].barrier, lambda: rings[1].all_gather(b"")]
        first = [lost(result) for result in in_threads(calls)]
        assert first == [lost(result) for result in on_all(rings, reduce_values, 3, "f4")]


# --- peers that go away -------------------------------------------------------------------------


def reduce_for_ever(ring: Ring, count: int) -> None:
    array = np.zeros(count, "float32")
    while True:
        ring.all_reduce(array)


def barrier_after(ring: Ring, seconds: float) -> None:
    time.sleep(seconds)
    ring.barrier()


@pytest.mark.parametrize("count", [50, 20_000, 3_000_000])
def test_killed_in_mid_operation(count: int) -> None:
    with process_ring(3) as ranks:
        for rank in ranks:
            rank.start(reduce_for_ever, count)
        time.sleep(0.5)
        ranks[1].process.kill()
        begin = time.monotonic()
        messages = [lost(ranks[0].result()), lost(ranks[2].result())]
        assert time.monotonic() - begin < 5
    assert any(f"rank 1 at {ring_processes.host_of(1)}" in message for message in messages)


def test_killed_while_others_wait_for_a_third() -> None:
    """Rank 0 waits for rank 2, which computes; that rank 1 has died, it learns at once.

    Among hosts it has not read yet that rank 1 has called before.
    """
    with process_ring(3) as ranks:
        ranks[0].start(barrier_after, 0)
        ranks[1].start(barrier_after, 0)
        ranks[2].start(barrier_after, 4)
        time.sleep(1)
        ranks[1].process.kill()
        begin = time.monotonic()
        assert "rank 1 at" in lost(ranks[0].result())
        assert time.monotonic() - begin < 2
        # Both had called their barrier before, so rank 2's own may end well, but no further one.
        ranks[2].result()
        # Rank 2 may have no link to rank 1: then it learns it from rank 0, which does not idle.
        for rank in (0, 2):
            ranks[rank].start(barrier_after, 0)
        for rank in (0, 2):
            lost(ranks[rank].result())


def test_lost_peer_is_seen_by_a_thread_while_this_rank_computes() -> None:
    with thread_ring(3) as rings:
        assert [ring.lost_peer() for ring in rings] == [None] * 3
        rings[1].abort()
        time.sleep(0.1)
        assert "rank 1 at" in lost(rings[0].lost_peer())
        assert "rank 1 at" in lost(in_threads([rings[0].barrier])[0])
    with thread_ring(3) as rings:
        rings[1].close()
        time.sleep(0.1)
        assert [ring.lost_peer() for ring in rings] == [None] * 3, "closed is not lost"
        # Among hosts rank 0 waits for rank 2, of its own host, before it looks at rank 1.
        callers = [0] if ring_processes.HOSTS == 1 else [0, 2]
        found = in_threads([rings[rank].barrier for rank in callers])
        assert any("closed its ring" in lost(one) for one in found)


@pytest.mark.parametrize("count", [10, 41_003, 3_000_000])
def test_an_early_close_harms_nobody(count: int) -> None:
    """Whoever is done closes at once, while the others still take in what it sent."""

    def last(ring: Ring) -> np.ndarray:
        result = reduce_values(ring, count, "float32")
        ring.close()
        return result

    for size in (2, 3, 4):
        with thread_ring(size) as rings:
            assert_is_sum(on_all(rings, last), count, "float32")


def last_and_exit(ring: Ring, rank_that_sleeps: int) -> int:
    """Take part in the last operation, close and be gone, but for one that wakes up late."""
    if ring.rank == rank_that_sleeps:
        time.sleep(1)
    size = len(ring.broadcast(b"z" * 9_000_000 if ring.rank == 0 else None))
    ring.close()
    return size


def test_an_early_close_after_broadcast() -> None:
    with process_ring(3) as ranks:
        assert everywhere(ranks, last_and_exit, 2) == [9_000_000] * 3


@pytest.mark.parametrize("how", ["abort", "close"])
def test_end_from_another_thread(how: str) -> None:
    with thread_ring(3) as rings:
        # Rank 2 computes; 0 and 1 wait for it until somebody ends rank 0.
        timer = threading.Timer(0.5, getattr(rings[0], how))
        timer.start()
        begin = time.monotonic()
        results = on_all(rings[:2], lambda ring: ring.barrier())
        assert time.monotonic() - begin < 3
        assert "rank 0 left the ring" in lost(results[0])
        assert "rank 0 at" in lost(results[1])
        timer.join()


def test_closed_while_lost_peer_looks_is_still_orderly() -> None:
    """The heartbeat's look holds the lock for a moment; that must not turn a close to an abort."""
    with thread_ring(2) as rings:
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                rings[0].lost_peer()

        looking = threading.Thread(target=look)
        looking.start()
        rings[0].close()
        stop.set()
        looking.join()
        assert "closed its ring" in lost(in_threads([rings[1].barrier])[0])


def test_an_operation_has_a_limit() -> None:
    with thread_ring(2, operation_timeout=0.5) as rings:
        message = lost(in_threads([rings[0].barrier])[0])
    assert "barrier took longer than its limit of 0.5 s" in message and "rank 1" in message


def test_interrupted_in_mid_operation_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with thread_ring(2) as rings:

        def interrupt(*args: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(rings[0]._transport, "barrier", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rings[0].barrier()
        assert "KeyboardInterrupt" in lost(in_threads([rings[0].barrier])[0])
        assert "rank 0 at" in lost(in_threads([rings[1].barrier])[0])


def test_close_twice_and_after_failure() -> None:
    with thread_ring(2) as rings:
        rings[0].abort()
        for ring in rings:
            ring.close()
            ring.close()
            assert "rank" in lost(in_threads([ring.barrier])[0])


def test_the_end_is_told_from_every_other_operation():
    with thread_ring(2) as rings:
        assert on_all(rings, lambda ring: ring.end()) == [None, None]
        errors = on_all(rings, lambda ring: ring.end() if ring.rank else ring.barrier())
    assert all(isinstance(error, PeerLostError) for error in errors)
    told = [str(error) for error in errors]
    # Whoever learns it second may only see that the first one has left.
    assert "rank 1 at" in told[0] and "rank 0 at" in told[1]
    assert "has returned while this rank calls barrier" in told[0] or re.search(
        r"called barrier, 0 bytes, call \d+ while this rank calls end", told[1]
    )
