"""What goes wrong in a data creator, or in the loader that it makes, is told once and soon."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.faults.table import came_out
from zoo.orca.errors import DataError, ModelError, OrcaError, WorkerDiedError, WorkerError

#: From the call to the error on the driver; torch is imported before.
LIMIT_SECONDS = 15.0

pytestmark = pytest.mark.timeout(120)

Creator = Callable[[dict[str, Any], int], Any]


def estimator(workers: int = 2) -> Any:
    """An estimator of a linear model in PyTorch."""
    from torch import nn

    from zoo.orca.learn.pytorch import Estimator

    def optimizer(model: Any, config: dict[str, Any]) -> Any:
        import torch

        return torch.optim.SGD(model.parameters(), lr=0.01)

    return Estimator.from_torch(
        model=lambda config: nn.Linear(4, 1),
        optimizer=optimizer,
        loss=nn.MSELoss(),
        num_workers=workers,
    )


def batch(rows: int = 8, columns: int = 4) -> Any:
    """A batch for it."""
    import torch

    return torch.zeros(rows, columns), torch.zeros(rows, 1)


@pytest.fixture(scope="module", autouse=True)
def warm(spark: SparkSession) -> None:
    """The workers have imported torch before anybody looks at a clock."""
    estimator().fit(lambda config, batch_size: [batch()], batch_size=16)


@pytest.fixture(autouse=True)
def no_process_of_a_loader_stays() -> Iterator[None]:
    """Check that processes of DataLoaders have ended."""
    yield
    deadline = time.monotonic() + 10
    while (left := _loaders()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _loaders() -> list[str]:
    """Processes of this run that are copies of a child, whose parents are children."""
    workers = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            is_ours = os.environ["ORCA_TEST_RUN"].encode() in (process / "environ").read_bytes()
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        if is_ours and "zoo.orca.worker.child" in command:
            workers[process.name] = parent
    return [name for name, parent in workers.items() if parent in workers]


def fails(creator: Creator, **arguments: Any) -> tuple[Any, float]:
    """Train on what a creator makes; return the error, and how long it took."""
    started = time.monotonic()
    with pytest.raises(OrcaError) as caught:
        estimator().fit(creator, batch_size=16, epochs=1000, **arguments)
    seconds = time.monotonic() - started
    came_out(caught.value, seconds)
    cause, _, way = str(caught.value).partition("\n")
    assert cause and way
    assert seconds < LIMIT_SECONDS
    return caught.value, seconds


def raises(config: dict[str, Any], batch_size: int) -> Any:
    if config["rank"] == 1:
        raise LookupError("there is no such table")
    return [batch()] * 5


def nothing(config: dict[str, Any], batch_size: int) -> Any:
    print("a return is missing")


def arrays(config: dict[str, Any], batch_size: int) -> Any:
    return batch()


def number(config: dict[str, Any], batch_size: int) -> Any:
    return 7


def unlabelled(config: dict[str, Any], batch_size: int) -> Any:
    return [batch()[0]] * 5


def other_axes(config: dict[str, Any], batch_size: int) -> Any:
    x, y = batch()
    return [(x[:, :, None] if config["rank"] else x, y)] * 5


def other_lengths(config: dict[str, Any], batch_size: int) -> Any:
    return [batch(columns=3 if config["rank"] else 4)] * 5


def empty(config: dict[str, Any], batch_size: int) -> Any:
    return [] if config["rank"] else [batch()] * 5


def breaks(config: dict[str, Any], batch_size: int) -> Any:
    for number in range(9):
        if config["rank"] == 1 and number == 4:
            raise ValueError("line 5 is broken")
        yield batch()


TOLD = [
    pytest.param(
        *(raises, WorkerError, "LookupError: there is no such table"),
        marks=pytest.mark.fault("a data creator raises on one rank"),
    ),
    pytest.param(
        *(nothing, DataError, "data(config, batch_size) returned None"),
        marks=pytest.mark.fault("a data creator returns nothing"),
    ),
    pytest.param(
        *(arrays, DataError, "returned a tuple of 2, which is one batch and no loader"),
        marks=pytest.mark.fault("a data creator returns one batch"),
    ),
    pytest.param(
        *(number, DataError, "returned an int, which has no batches"),
        marks=pytest.mark.fault("a data creator returns a number"),
    ),
    pytest.param(
        *(unlabelled, DataError, "a batch of data is a Tensor, not (x, y)"),
        marks=pytest.mark.fault("a creator's batches have no labels"),
    ),
    pytest.param(
        *(other_axes, DataError, "data makes other batches on rank 1 than on rank 0"),
        marks=pytest.mark.fault("a creator's batches have other axes on one rank"),
    ),
    pytest.param(
        *(other_lengths, ModelError, "the model"),
        marks=pytest.mark.fault("a creator's batches have other row shapes on one rank"),
    ),
    pytest.param(
        *(empty, DataError, "has made a loader without batches on rank 1"),
        marks=pytest.mark.fault("a creator's loader has no batches on one rank"),
    ),
    pytest.param(
        *(breaks, WorkerError, "ValueError: line 5 is broken"),
        marks=pytest.mark.fault("a creator's iterator raises in mid-epoch on one rank"),
    ),
]


@pytest.mark.parametrize(("creator", "kind", "words"), TOLD)
def test_what_is_wrong_is_told(creator: Creator, kind: type, words: str) -> None:
    error, _ = fails(creator)
    assert type(error) is kind
    assert words in str(error).split("\n")[0]
    if kind is WorkerError:
        assert error.rank == 1
        assert f"in {creator.__name__}" in error.remote_traceback


@pytest.mark.fault("the creator of validation_data raises on one rank")
def test_validation_data_is_named() -> None:
    error, _ = fails(lambda config, batch_size: [batch()] * 5, validation_data=raises)
    assert type(error) is WorkerError
    assert error.rank == 1
    assert "LookupError" in str(error)


class Items:
    """A data set whose item 40 does something, in one of the processes of rank 1's loader."""

    def __init__(self, rank: int, action: Callable[[], Any]) -> None:
        self._rank, self._action = rank, action

    def __len__(self) -> int:
        return 80

    def __getitem__(self, number: int) -> Any:
        if self._rank == 1 and number >= 40:
            self._action()
        x, y = batch(1)
        return x[0], y[0]


def processes(action: Callable[[], Any], **options: Any) -> Creator:
    """A creator of a DataLoader with two processes, unless told otherwise."""
    options = {"num_workers": 2, **options}

    def creator(config: dict[str, Any], batch_size: int) -> Any:
        from torch.utils.data import DataLoader

        items = Items(config["rank"], action)
        return DataLoader(items, batch_size=batch_size, **options)

    return creator


@pytest.mark.fault("a process of a creator's DataLoader is killed by SIGKILL")
def test_a_killed_process_of_a_loader() -> None:
    error, _ = fails(processes(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    assert type(error) is WorkerError
    assert error.rank == 1
    assert "DataLoader worker (pid" in str(error)


@pytest.mark.fault("a process of a creator's DataLoader raises")
def test_a_process_of_a_loader_that_raises() -> None:
    error, _ = fails(processes(lambda: 1 / 0))
    assert error.rank == 1
    assert "ZeroDivisionError: division by zero" in str(error).split("\n")[0]


@pytest.mark.fault("a process of a creator's DataLoader with timeout=2 blocks for ever")
def test_a_loader_with_a_limit() -> None:
    # torch waits for 5 s for the end of each process before it kills it.
    error, _ = fails(processes(lambda: time.sleep(3600), timeout=2, num_workers=1))
    assert error.rank == 1
    assert "timed out after 2 seconds" in str(error)


@pytest.mark.fault("a child whose DataLoader has processes is killed by SIGKILL")
def test_a_killed_child_with_a_loaders_processes() -> None:
    """They hold copies of its pipes and connections, and must not hide its end."""
    error, _ = fails(processes(lambda: os.kill(os.getppid(), signal.SIGKILL)))
    assert type(error) is WorkerDiedError
    assert error.rank == 1
    assert "SIGKILL" in str(error)


@pytest.mark.fault("a creator's iterator blocks for ever on one rank")
def test_who_waits_for_ever_is_told(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the user's own code, so it is not ended; the user is told, and ends it."""

    def creator(config: dict[str, Any], batch_size: int) -> Any:
        from zoo.orca.frameworks.creators import waiting

        waiting.SECONDS = 0.5  # in this child, for this test
        try:
            yield batch()
            while config["rank"] == 1:
                time.sleep(0.1)
            yield batch()
        finally:
            waiting.SECONDS = 60.0

    told = "rank 1 has had no batch of data for 1 s: the creator, or the loader that it made"
    shown, cancelled = "", 0.0

    def cancel() -> None:
        nonlocal shown, cancelled
        deadline = time.monotonic() + 60
        while told not in shown and time.monotonic() < deadline:
            time.sleep(0.1)
            shown += capsys.readouterr().out
        cancelled = time.monotonic()
        spark.sparkContext.cancelAllJobs()

    watcher = threading.Thread(target=cancel, daemon=True)
    watcher.start()
    with pytest.raises(OrcaError):
        estimator().fit(creator, batch_size=16)
    seconds = time.monotonic() - cancelled
    watcher.join(60)
    assert told in shown
    assert seconds < LIMIT_SECONDS
    came_out("waits, and says so after 60 s, then after 120 s and so on; Ctrl-C ends it", seconds)
