"""PyTorch's process group over the workers: its sums, its variables, its end."""

import contextlib
import os
import time
from typing import Any

import numpy as np
import pytest

from tests.frameworks.own.workers import run_plugin
from tests.worker.collective.ring_processes import everywhere, process_ring
from zoo.orca.errors import WorkerError
from zoo.orca.frameworks.own.worker import Worker
from zoo.orca.worker.collective.protocol import Alone, Collective

pytestmark = pytest.mark.timeout(120)

torch = pytest.importorskip("torch")


def sums(worker: Worker) -> dict[str, Any]:
    """Use the group as a block, then once more until the end."""
    from torch import distributed

    before = dict(os.environ)
    found: dict[str, Any] = {}
    with worker.torch_distributed() as group:
        tensor = torch.full((3,), float(worker.rank + 1))
        distributed.all_reduce(tensor)
        found["backend"], found["sum"] = group.backend, tensor.numpy().copy()
        found["variables"] = {
            name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")
        }
        try:
            worker.torch_distributed()
        except WorkerError as error:
            found["twice"] = str(error)
    found["left"] = not distributed.is_initialized() and dict(os.environ) == before
    worker.torch_distributed()
    # What finds the variables makes a group by itself, over the same store.
    distributed.destroy_process_group()
    distributed.init_process_group("gloo")
    distributed.all_reduce(tensor)
    found["again"] = tensor.numpy()
    return found


def in_plugin(collective: Collective) -> Any:
    from torch import distributed

    found = run_plugin(collective, sums)
    return found, not distributed.is_initialized()


def check(size: int, found: dict[str, Any]) -> None:
    total = sum(range(1, size + 1))
    np.testing.assert_array_equal(found["sum"], np.full(3, total))
    np.testing.assert_array_equal(found["again"], np.full(3, size * total))
    assert found["backend"] == "gloo" and found["left"]
    assert found["variables"] == {
        "RANK": "0",
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": "0",
        "NODE_RANK": "0",
    }
    assert "worker.torch_distributed() calls it" in found["twice"]


def test_one_worker_has_a_group_too() -> None:
    found, left = in_plugin(Alone())
    check(1, found)
    assert left


def fails(collective: Collective, how: str) -> str:
    """Let rank 1 leave while rank 0 waits in an operation of the group."""

    def function(worker: Worker) -> None:
        from torch import distributed

        group = worker.torch_distributed()
        with group if how != "is killed" else contextlib.nullcontext():
            if worker.rank == 1:
                time.sleep(0.5)
                if how == "raises":
                    raise KeyError("mine")
                if how == "is killed":
                    os._exit(9)
                return
            distributed.all_reduce(torch.ones(3))

    began = time.monotonic()
    try:
        run_plugin(collective, function)
    except Exception as error:
        return f"{time.monotonic() - began < 15} {type(error).__name__}: {error}"
    return "no error"


@pytest.mark.slow
def test_several_workers_and_how_one_may_leave() -> None:
    with process_ring(2) as ranks:
        results = everywhere(ranks, in_plugin)
        check(2, results[0][0])
        assert [left for _, left in results] == [True, True]
    for how in ("returns", "raises", "is killed"):
        with process_ring(2) as ranks:
            for rank in ranks:
                rank.start(fails, how)
            told = [rank.result(60) for rank in (ranks[:1] if how == "is killed" else ranks)]
        assert all(one.startswith("True ") for one in told), told
        # What PyTorch says, that a connection was closed, is nobody's cause.
        causes = [one.removeprefix("True ") for one in told if "PeerLostError" not in one]
        if how == "returns":
            assert causes and all(
                one == "WorkerError: rank 1 has returned from its function, and rank 0 still waits "
                "for it\nEvery worker makes the same calls in the same order: let none return, or "
                "leave its loop, before the others"
                for one in causes
            )
        else:
            assert causes == (["KeyError: 'mine'"] if how == "raises" else [])
