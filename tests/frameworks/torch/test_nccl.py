"""The collective of tensors, with gloo in NCCL's place: two and three processes, and their ends."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.worker.collective.ring_processes import (
    connect_all,
    everywhere,
    on_all,
    process_ring,
    thread_ring,
)
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.errors import ModelError, PeerLostError
from zoo.orca.frameworks.torch.nccl import Nccl
from zoo.orca.wire.processors import VISIBLE_GPUS
from zoo.orca.worker.collective.protocol import Alone, Collective
from zoo.orca.worker.collective.ring import Listener, Ring

pytestmark = pytest.mark.timeout(120)

torch = pytest.importorskip("torch")

BACKEND = "gloo"
#: Seconds in which processes import torch.
STARTS = 20
KEPT: list[Nccl] = []


def summed(ring: Collective, backend: str) -> dict[str, Any]:
    """Sum tensors of several types, and use everything else of the collective."""
    nccl = Nccl.connect(ring, backend=backend)
    found: dict[str, Any] = {"direct": nccl.direct, "place": (nccl.rank, nccl.size)}
    for dtype in (torch.float32, torch.float64, torch.int64, torch.bfloat16):
        tensor = (torch.arange(1000).reshape(10, 100) % 7 + nccl.rank).to(dtype)
        nccl.all_reduce_tensor(tensor)
        found[str(dtype)] = tensor.to(torch.float64).numpy()
    parameter = torch.nn.Parameter(torch.full((3,), float(nccl.rank)))
    nccl.all_reduce_tensor(parameter.data)
    found["parameter"] = parameter.detach().numpy().copy()
    array = np.full(5, float(nccl.rank))
    nccl.all_reduce(array)
    found["array"] = array
    found["gathered"] = [bytes(one) for one in nccl.all_gather(b"%d" % nccl.rank)]
    found["told"] = bytes(nccl.broadcast(b"root" if nccl.rank == 1 else None, 1))
    nccl.barrier()
    nccl.close()
    nccl.close()
    found["left"] = not torch.distributed.is_initialized()
    return found


def check(results: list[dict[str, Any]], direct: bool) -> None:
    size = len(results)
    offset = sum(range(size))
    values = size * (np.arange(1000).reshape(10, 100) % 7) + offset
    for rank, found in enumerate(results):
        assert found["direct"] is direct and found["place"] == (rank, size) and found["left"]
        for name in ("float32", "float64", "int64", "bfloat16"):
            np.testing.assert_array_equal(found[f"torch.{name}"], values)
        np.testing.assert_array_equal(found["parameter"], [offset] * 3)
        np.testing.assert_array_equal(found["array"], [offset] * 5)
        assert found["gathered"] == [b"%d" % other for other in range(size)]
        assert found["told"] == b"root"


@pytest.mark.parametrize("size", [2, 3])
def test_sums_where_tensors_are(size):
    with process_ring(size) as ranks:
        check(everywhere(ranks, summed, BACKEND), direct=True)
        # A warm child makes a group for each job.
        check(everywhere(ranks, summed, BACKEND), direct=True)


def test_ranks_that_share_a_gpu_sum_through_the_ring(monkeypatch):
    monkeypatch.setenv(VISIBLE_GPUS, "0,1")
    with process_ring(2) as ranks:
        check(everywhere(ranks, summed, "nccl"), direct=False)


def test_what_must_be_encrypted_between_hosts_goes_through_the_ring():
    hosts = ["127.0.0.1", "127.0.0.2"]
    rings = connect_all([Listener(host) for host in hosts], identity=self_signed())

    def summed_on_one(ring: Ring) -> list[float]:
        nccl = Nccl.connect(ring, backend=BACKEND)
        assert not nccl.direct and not torch.distributed.is_initialized()
        tensor = torch.arange(3.0)
        nccl.all_reduce_tensor(tensor)
        nccl.close()
        return tensor.tolist()

    assert on_all(rings, summed_on_one) == [[0, 2, 4]] * 2
    for ring in rings:
        ring.close()


def test_one_rank_has_nothing_to_sum():
    nccl = Nccl.connect(Alone())
    tensor = torch.arange(3.0)
    nccl.all_reduce_tensor(tensor)
    assert tensor.tolist() == [0, 1, 2] and not nccl.direct
    nccl.close()


def reduce_for_ever(ring: Collective, backend: str) -> None:
    nccl = Nccl.connect(ring, backend=backend)
    tensor = torch.ones(100_000)
    try:
        while True:
            nccl.all_reduce_tensor(tensor)
    finally:
        nccl.close()


def test_a_peers_death_is_told_and_nobody_hangs():
    with process_ring(2) as ranks:
        for rank in ranks:
            rank.start(reduce_for_ever, BACKEND)
        time.sleep(4)
        ranks[1].process.kill()
        began = time.monotonic()
        error = ranks[0].result(20)
        assert isinstance(error, PeerLostError) and "rank 1 at" in str(error)
        assert time.monotonic() - began < 10


def aborted(ring: Collective, backend: str) -> str:
    """Rank 0 waits for a sum that rank 1 never joins, and another of its threads gives up."""
    nccl = Nccl.connect(ring, backend=backend)
    ring.barrier()
    if nccl.rank == 1:
        time.sleep(8)
        return "computed"
    threading.Timer(1.0, nccl.abort, ["the task ended this job"]).start()
    # NCCL's abort ends what is under way; gloo's group would wait for it when it is let go of.
    KEPT.append(nccl)
    nccl.all_reduce_tensor(torch.ones(10))
    return "not reached"


def test_another_thread_can_end_it():
    with process_ring(2) as ranks:
        began = time.monotonic()
        for rank in ranks:
            rank.start(aborted, BACKEND)
        error = ranks[0].result(40)
        assert isinstance(error, PeerLostError) and "the task ended this job" in str(error)
        assert time.monotonic() - began < 6 + STARTS
        assert ranks[1].result() == "computed"


def alone_in_the_group(ring: Collective, backend: str) -> str:
    if ring.rank == 1:
        # It knows where the store is, and never comes.
        ring.broadcast(None), ring.broadcast(None)
        time.sleep(6)
        return "never came"
    Nccl.connect(ring, backend=backend, timeout=2.0)
    return "not reached"


def test_a_rank_that_never_comes_is_not_waited_for():
    with process_ring(2) as ranks:
        error, other = everywhere(ranks, alone_in_the_group, BACKEND)
    assert isinstance(error, PeerLostError) and "could not join gloo" in str(error)
    assert other == "never came"


def test_a_group_of_the_models_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with thread_ring(2) as rings, pytest.raises(ModelError, match="init_process_group"):
        Nccl.connect(rings[0], backend=BACKEND)
