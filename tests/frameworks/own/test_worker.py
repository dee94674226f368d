"""What workers tell each other, and what is shown of them."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.frameworks.own.workers import on_workers, run_plugin
from tests.worker.collective.ring_processes import on_all, thread_ring
from zoo.orca.errors import OrcaError, PeerLostError, WorkerError
from zoo.orca.frameworks.own import worker as module
from zoo.orca.frameworks.own.worker import Worker
from zoo.orca.wire.messages.progress import Reported
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import from_state, to_state
from zoo.orca.worker.collective.protocol import Alone

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_gather_and_broadcast_bring_values_of_any_form(size: int) -> None:
    def values(worker: Worker) -> Any:
        own = {"rank": worker.rank, "array": np.arange(worker.rank), "none": None}
        told = worker.all_gather(own)
        root = worker.size - 1
        given = ("of the root", worker.rank) if worker.rank == root else object()
        worker.barrier()
        return told, worker.broadcast(given, root=root), (worker.rank, worker.size)

    for rank, (told, sent, place) in enumerate(on_workers(size, values)):
        assert [one["rank"] for one in told] == list(range(size))
        assert [one["array"].tolist() for one in told] == [list(range(n)) for n in range(size)]
        assert sent == ("of the root", size - 1)
        assert place == (rank, size)


def test_what_cannot_travel_is_named() -> None:
    for call in ("all_gather", "broadcast"):
        (error,) = on_workers(1, lambda worker, call=call: getattr(worker, call)({"a": {1}}))
        assert str(error).startswith(f"what {call} was given at a is of type set, and only")
    with pytest.raises(WorkerError, match="what train returned at 0 is of type object"):
        run_plugin(Alone(), lambda worker: [object()])


def test_a_root_that_is_none_and_a_weight_that_is_none_are_refused() -> None:
    for root in ("0", 0.5):
        (error,) = on_workers(1, lambda worker, root=root: worker.broadcast(1, root=root))
        assert f"there is no worker {root!r} among 1" in str(error)
    (error,) = on_workers(1, lambda worker: worker.broadcast(1, root=1))
    assert "no worker 1 among 1" in str(error)
    for weight in (-1, float("nan")):
        (error,) = on_workers(1, lambda worker, weight=weight: worker.all_reduce(1, weight=weight))
        assert "weight must be a number from 0" in str(error)


def test_without_rows_or_a_place_for_checkpoints_the_way_is_told() -> None:
    (error,) = on_workers(1, lambda worker: worker.rows)
    assert "given no DataFrame" in str(error) and "feature_cols" in str(error)
    (error,) = on_workers(1, lambda worker: worker.checkpoint(1))
    assert "Distributor(model_dir=...)" in str(error)


@pytest.mark.parametrize("call", ["all_reduce", "all_gather", "broadcast", "barrier"])
def test_a_worker_that_returns_early_is_named(call: str) -> None:
    def early(worker: Worker) -> None:
        worker.all_reduce(1.0)
        if worker.rank == 1:
            return
        getattr(worker, call)(*([] if call == "barrier" else [np.ones(3)]))

    def run(collective: Any) -> Any:
        try:
            return run_plugin(collective, early)
        except OrcaError as error:
            return error

    with thread_ring(3) as rings:
        began = time.monotonic()
        errors = on_all(rings, run)
        assert time.monotonic() - began < 10
    told = [error for error in errors if not isinstance(error, PeerLostError)]
    assert told and all(isinstance(error, WorkerError) for error in told)
    assert all(str(error).startswith("rank 1 has returned from its function") for error in told)


@pytest.mark.parametrize(
    "given",
    [
        (np.ones(3), np.ones(4)),
        (np.ones(3), np.ones(3, np.float32)),
        ({"a": np.ones(3), "b": np.ones(2)}, {"a": np.ones(2), "b": np.ones(3)}),
        ({"a": 1.0}, {"b": 1.0}),
        ([], [1]),
    ],
)
def test_trees_that_differ_are_an_error_and_no_sum(given: tuple[Any, Any]) -> None:
    errors = on_workers(2, lambda worker: worker.all_reduce(given[worker.rank]))
    assert all(isinstance(error, WorkerError) for error in errors)
    told = [str(error) for error in errors if not isinstance(error, PeerLostError)]
    assert told and all("same" in one for one in told)


def test_another_call_is_named() -> None:
    def calls(worker: Worker) -> None:
        worker.barrier() if worker.rank else worker.all_reduce(1.0)

    errors = on_workers(2, calls)
    told = [str(error) for error in errors if not isinstance(error, PeerLostError)]
    assert told and all(one.startswith("the workers do not make the same calls") for one in told)


def test_the_newest_report_is_shown_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    progress: list[Any] = []

    def steps(worker: Worker) -> None:
        for step in range(1, 6):
            worker.report(step, 5, loss=np.float32(1 / step))

    run_plugin(Alone(), steps, progress=progress)
    assert progress == [
        Reported(step=1, steps=5, logs={"loss": 1.0}),
        Reported(step=5, steps=5, logs={"loss": pytest.approx(0.2)}, is_last=True),
    ]
    monkeypatch.setattr(module, "_REPORT_SECONDS", 0.0)
    progress.clear()
    run_plugin(Alone(), steps, progress=progress)
    assert [one.step for one in progress] == [1, 2, 3, 4, 5]


def test_rank_0_alone_reports() -> None:
    told: list[Any] = [[], []]
    with thread_ring(2) as rings:
        on_all(rings, lambda ring: run_plugin(ring, lambda w: w.report(1), None, told[ring.rank]))
    assert told == [[Reported(step=1)], []]


def test_checkpoints_are_numbered_on_from_the_one_that_was_restored() -> None:
    kept: list[State] = []
    worker = Worker(Alone(), None, lambda progress: None, kept.append, None)
    assert worker.restored is None
    worker.checkpoint({"epoch": 1})
    again = Worker(Alone(), None, lambda progress: None, kept.append, kept[-1])
    assert again.restored == {"epoch": 1}
    again.checkpoint({"epoch": 2})
    assert [state.meta["epoch"] for state in kept] == [1, 2]
    assert from_state(kept[-1]) == {"epoch": 2}


def test_only_rank_0_writes() -> None:
    kept: list[tuple[int, Any]] = []

    def checkpoint(ring: Any) -> None:
        restored = to_state("before", "own", 3)
        own = Worker(ring, None, lambda p: None, lambda s: kept.append((ring.rank, s)), restored)
        own.checkpoint(own.restored)

    with thread_ring(2) as rings:
        on_all(rings, checkpoint)
    assert [(rank, state.meta["epoch"]) for rank, state in kept] == [(0, 4)]


def test_an_error_of_the_function_is_not_that_of_a_peer() -> None:
    release = threading.Event()

    def fails(worker: Worker) -> None:
        if worker.rank == 1:
            release.set()
            raise KeyError("mine")
        worker.all_reduce(1.0)

    def run(ring: Any) -> Any:
        try:
            return run_plugin(ring, fails)
        except Exception as error:
            return error

    with thread_ring(2) as rings:
        errors = on_all(rings, run)
    assert isinstance(errors[0], PeerLostError) and isinstance(errors[1], KeyError)
