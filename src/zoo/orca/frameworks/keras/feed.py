"""Steps for Keras's loops on JAX and torch: slices of chunks, with little Python.

A thread gathers the rows of some dozens of steps at once, ahead of the training. On TensorFlow
`tensorflow_feed` does the same with a `tf.data.Dataset`.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.keras.types import Tensor
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.rows.steps import Arrays, Chunk, Steps
from zoo.orca.worker.rows.transform import TransformedColumns

#: Chunks that are gathered in advance.
AHEAD = 2


class Counted(NamedTuple):
    """One step's batch on one of several workers.

    `rows` holds this rank's row count and all ranks' row count of the step. This rank's is 0 if the
    batch is a single placeholder row, because every worker takes part in every step.
    """

    # Two fields: Keras 2 takes any tuple of three for inputs, labels and weights.
    data: Any
    rows: tuple[Any, Any]


class StepFeed(ABC):
    """Batches of one rank's rows, in the plan's order.

    Parameters
    ----------
    plan : Plan
    rank : int
    columns : dict of str to array
        The rows as they were spooled.
    shape : callable
        Turns some rows' columns into the model's arrays.
    pack : callable
        Puts a batch's tensors, by name, into Keras's structure.
    counted : bool
        Whether batches come as `Counted`.

    Attributes
    ----------
    seconds : float
        Time spent so far on waiting for rows, if Python waits for them.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        columns: Arrays,
        shape: Callable[[Arrays], dict[str, NDArray[Any]]],
        pack: Callable[[dict[str, Tensor]], Structure],
        *,
        counted: bool,
    ) -> None:
        some = columns
        if not isinstance(columns, TransformedColumns):
            some = {name: rows_or_one(values) for name, values in columns.items()}
        self._steps = Steps(plan, rank, some, shape)
        self._pack, self._counted = pack, counted
        self.seconds = 0.0

    def sample(self, rows: int = 2) -> Structure:
        """Return a batch of the given size, which repeats the first two rows.

        With one row, a model that squeezes would return another shape.
        """
        found = self._steps.sample()
        arrays = {name: np.resize(a, (rows, *a.shape[1:])) for name, a in found.items()}
        return self._pack({name: self.tensor(values) for name, values in arrays.items()})

    @abstractmethod
    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Return an array as a tensor of the backend."""


class ArrayFeed(StepFeed):
    """Batches of one rank's rows, as arrays or tensors.

    Parameters
    ----------
    plan, rank, columns, shape, pack, counted
        As for every feed.
    accept : callable
        Takes a column's name and values; returns it in a dtype that the backend has.
    tensor : callable
        Turns an array into a form that can be sliced into batches.
    scalar : callable
        Turns a row count into a form that steps can calculate with.
    """

    def __init__(
        self,
        plan: Plan,
        rank: int,
        columns: Arrays,
        shape: Callable[[Arrays], dict[str, NDArray[Any]]],
        pack: Callable[[dict[str, Tensor]], Structure],
        *,
        counted: bool,
        accept: Callable[[str, NDArray[Any]], NDArray[Any]],
        tensor: Callable[[NDArray[Any]], Any],
        scalar: Callable[[int], Any],
    ) -> None:
        def accepted(columns: Arrays) -> dict[str, NDArray[Any]]:
            return shape({name: accept(name, values) for name, values in columns.items()})

        super().__init__(plan, rank, columns, accepted, pack, counted=counted)
        self._tensor, self._scalar = tensor, scalar

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Return an array in a form that can be sliced into batches."""
        return self._tensor(values)

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return `count` steps for Keras's loop; `start` is called whenever they begin."""
        return adapter(lambda: self._batches(start, count), count)

    def _batches(self, start: Callable[[], int], count: int) -> Iterator[Structure]:
        for arrays, rows, of in self._timed(_ahead(self._steps.take(start(), count))):
            tensors = {name: self.tensor(values) for name, values in arrays.items()}
            counts = zip(rows.tolist(), of.tolist(), strict=True)
            for step, (mine, everyones) in enumerate(counts):
                batch = {name: values[step] for name, values in tensors.items()}
                if self._steps.is_ragged:
                    batch = {name: values[: max(mine, 1)] for name, values in batch.items()}
                data = self._pack(batch)
                if self._counted:
                    data = Counted(data, (self._scalar(mine), self._scalar(everyones)))
                yield data

    def _timed(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        while True:
            began = time.perf_counter()
            chunk = next(chunks, None)
            self.seconds += time.perf_counter() - began
            if chunk is None:
                return
            yield chunk


def rows_or_one(values: NDArray[Any]) -> NDArray[Any]:
    """Return rows; if a rank has none, one row of zeros."""
    if len(values):
        return values
    empty: Any = b"" if values.dtype == object else 0
    return np.full((1, *values.shape[1:]), empty, values.dtype)


def no_strings(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column unless it holds strings.

    Raises
    ------
    ModelError
        Names the column and the remedy.
    """
    if values.dtype == object:
        raise ModelError(
            f"column {name!r} holds strings, and only Keras on TensorFlow takes those\nPass "
            "keras_backend='tensorflow', or index the strings with Spark's StringIndexer"
        )
    return values


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield chunks that one thread gathers in advance; the thread ends with the iteration."""
    with ThreadPoolExecutor(1, "orca-feed") as thread:
        coming = deque(thread.submit(next, chunks, None) for _ in range(AHEAD))
        # no limit: the thread reads this machine's own files
        while (chunk := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, chunks, None))
            yield chunk


def adapter(batches: Callable[[], Iterator[Any]], count: int | None) -> Any:
    """Return an object that Keras's loops use batch by batch, without adapting it."""
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter

    class Adapter(DataAdapter):  # type: ignore[misc]
        """Passes batches on."""

        num_batches = count
        batch_size = None
        has_partial_batch = False
        partial_batch_size = None

        def get_numpy_iterator(self) -> Iterator[Any]:
            return batches()

        get_jax_iterator = get_torch_dataloader = get_numpy_iterator

    return Adapter()
