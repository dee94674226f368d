"""A user's batches for Keras's loops on JAX and torch."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.creators.stream import LoaderStep, Stream
from zoo.orca.frameworks.keras.feed import Counted, adapter
from zoo.orca.frameworks.keras.loaders.layout import KerasParts, batch_of, resized, zeros
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created


class ArrayLoaderFeed:
    """Batches of one rank's loader; made on all ranks.

    Parameters
    ----------
    created : Created
    collective : Collective
    parts : KerasParts
        Splits the loader's batches.
    accept, tensor, scalar : callable
        As of `zoo.orca.frameworks.keras.feed.ArrayFeed`.

    Attributes
    ----------
    stream : Stream
    seconds : float
        Time spent so far on waiting for batches.
    over_passes : bool
        Whether steps go on with the next pass where one ends.
    problem : Exception or None
        As of every feed of a loader; here errors come as they are.
    """

    problem: Exception | None = None

    def __init__(
        self,
        created: Created,
        collective: Collective,
        parts: KerasParts,
        *,
        accept: Callable[[str, NDArray[Any]], NDArray[Any]],
        tensor: Callable[[NDArray[Any]], Any],
        scalar: Callable[[int], Any],
    ) -> None:
        self.stream = Stream(created, collective, parts, zeros)
        self._counted = collective.size > 1
        self._trains = created.role == "train"
        self._accept, self._tensor, self._scalar = accept, tensor, scalar
        self._last: dict[str, Any] | None = None
        self.seconds, self.over_passes = 0.0, False
        if not self._trains:
            self.stream.sample()  # on all ranks, before one of them needs it

    def sample(self, rows: int = 2) -> Structure:
        """Return a batch of so many rows, which repeats the first ones."""
        return batch_of(self._tensors(resized(self.stream.sample(), rows)))

    def inputs(self) -> Structure:
        """Return the inputs of the first batch."""
        return self.stream.sample()["x"]

    def steps(self, start: Callable[[], int], count: int) -> Any:
        """Return `count` steps for Keras's loop, or those of a pass if it is not known."""
        plan = self.stream.plan
        self.stream.check_end(count)
        number: int | None = count
        if count >= ENDLESS:
            left = (plan.expected or 0) - (plan.within if self._trains else 0)
            number = left if plan.is_certain else None
        return adapter(lambda: self._batches(count), number)

    def _batches(self, count: int) -> Iterator[Structure]:
        if not self._trains:
            self.stream.restart()
        for step in self._timed(self.stream.take(count, over_passes=self.over_passes)):
            parts = step.parts
            if step.rows:
                self._last = parts
            elif self._last is not None:
                # Of the size of others, for which the step is compiled already.
                parts = self._last
            data = batch_of(self._tensors(parts))
            if self._counted:
                data = Counted(data, (self._scalar(step.rows), self._scalar(step.of)))
            yield data

    def _tensors(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        def made(value: Structure, name: str) -> Any:
            if isinstance(value, Mapping):
                return {key: made(one, f"{name}[{key!r}]") for key, one in value.items()}
            if isinstance(value, tuple):
                return tuple(made(one, f"{name}[{k}]") for k, one in enumerate(value))
            return None if value is None else self._tensor(self._accept(name, value))

        return {name: made(one, name) for name, one in parts.items()}

    def _timed(self, steps: Iterator[LoaderStep]) -> Iterator[LoaderStep]:
        while True:
            began = time.perf_counter()
            step = next(steps, None)
            self.seconds += time.perf_counter() - began
            if step is None:
                return
            yield step

    def close(self) -> None:
        """End the loader's processes."""
        self.stream.close()
