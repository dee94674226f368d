"""Steps as Keras's loops on JAX and torch take them: slices of chunks, with no Python besides.

Rows are gathered for some dozens of steps at once, in a thread, ahead of the training. On
TensorFlow `tensorflow_feed` does the same with a `tf.data.Dataset`.
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
from zoo.orca.wire.plan import Plan
from zoo.orca.worker.rows.steps import Arrays, Chunk, Steps

#: Chunks that are gathered before they are asked for.
AHEAD = 2


class Counted(NamedTuple):
    """One step's batch on one of several workers.

    `rows` are this rank's rows of the step and all ranks' rows. This rank's are 0 where the batch
    is a single row that stands for none: every worker takes part in every step.
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
        Turns some rows' columns into the arrays that the model takes.
    pack : callable
        Puts a batch's tensors, by name, into Keras's structure.
    counted : bool
        Whether batches come as `Counted`.

    Attributes
    ----------
    seconds : float
        Spent so far on waiting for rows, where Python waits for them.
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
        some = {name: rows_or_one(values) for name, values in columns.items()}
        self._steps = Steps(plan, rank, some, shape)
        self._pack, self._counted = pack, counted
        self.seconds = 0.0

    def sample(self, rows: int = 2) -> Structure:
        """Return a batch of so many rows, the first two again and again.

        Of one row a model that squeezes would make something else than of several.
        """
        found = self._steps.sample()
        arrays = {name: np.resize(a, (rows, *a.shape[1:])) for name, a in found.items()}
        return self._pack({name: self.tensor(values) for name, values in arrays.items()})

    @abstractmethod
    def tensor(self, values: NDArray[Any]) -> Tensor:
        """Return an array as a tensor of the backend's."""


class ArrayFeed(StepFeed):
    """Batches of one rank's rows, as arrays or tensors.

    Parameters
    ----------
    plan, rank, columns, shape, pack, counted
        As for every feed.
    accept : callable
        Returns a column, by its name and values, with a dtype that the backend has.
    tensor : callable
        Turns an array into what batches are cut from.
    scalar : callable
        Turns a number of rows into what steps calculate with.
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
        """Return an array as what batches are cut from."""
        return self._tensor(values)

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return `count` steps for Keras's loop; `start` is asked whenever they are begun."""
        return _adapter(lambda: self._batches(start, count), count)

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
    """Return rows; where a rank has none, one of zeros."""
    if len(values):
        return values
    empty: Any = b"" if values.dtype == object else 0
    return np.full((1, *values.shape[1:]), empty, values.dtype)


def no_strings(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column unless it holds strings.

    Raises
    ------
    ModelError
        Names the column and the way out.
    """
    if values.dtype == object:
        raise ModelError(
            f"column {name!r} holds strings, and only Keras on TensorFlow takes those\nPass "
            "keras_backend='tensorflow', or index the strings with Spark's StringIndexer"
        )
    return values


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield chunks that one thread gathers in advance; it ends with the iteration."""
    with ThreadPoolExecutor(1, "orca-feed") as thread:
        coming = deque(thread.submit(next, chunks, None) for _ in range(AHEAD))
        while (chunk := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, chunks, None))
            yield chunk


def _adapter(batches: Callable[[], Iterator[Any]], count: int) -> Any:
    """Return what Keras's loops take as it is, batch by batch, instead of adapting it."""
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter

    class Adapter(DataAdapter):  # type: ignore[misc]
        """Hands over batches."""

        num_batches = count
        batch_size = None
        has_partial_batch = False
        partial_batch_size = None

        def get_numpy_iterator(self) -> Iterator[Any]:
            return batches()

        get_jax_iterator = get_torch_dataloader = get_numpy_iterator

    return Adapter()
