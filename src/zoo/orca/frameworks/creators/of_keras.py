"""Keras's PyDataset, and Keras 2's Sequence, dealt out by the numbers of batches."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from zoo.orca.errors import DataError
from zoo.orca.frameworks.creators.seeds import mixed, seed_all
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created


class DealtSequence:
    """Every worker's n-th batch of a sequence, which all workers have alike.

    Raises
    ------
    DataError
        If workers have batches of different sizes, which begin at different rows.
    """

    is_dealt = True

    def __init__(self, made: Sequence[Any], created: Created, collective: Collective) -> None:
        self._made, self._created = made, created
        self._rank, self._size = collective.rank, collective.size
        if created.batch_size % collective.size:
            raise DataError(
                f"batch_size={created.batch_size} is no multiple of the {collective.size} workers, "
                f"and {created.argument} makes a {type(made).__qualname__}, which is dealt out by "
                f"batches\nPass batch_size={-(-created.batch_size // collective.size)} * "
                f"{collective.size}"
            )
        self.length: int | None = len(range(self._rank, len(made), self._size))
        self._began = False

    def batches(self, pass_index: int) -> Iterator[Any]:
        """Yield this rank's batches of a pass, after which the sequence may shuffle itself."""
        if not self._began:
            # Those that shuffle do so after each pass, so that a later one begins as it would.
            for done in range(pass_index):
                self._end(done)
        self._began = True
        seed_all(mixed(self._created.seed, pass_index, self._rank, 1))
        numbers = range(self._rank, len(self._made), self._size)
        threads = int(getattr(self._made, "workers", 1) or 1)
        if threads > 1:
            yield from _threaded(self._made.__getitem__, numbers, threads)
        else:
            for number in numbers:
                yield self._made[number]
        self._end(pass_index)

    def _end(self, pass_index: int) -> None:
        end: Callable[[], None] | None = getattr(self._made, "on_epoch_end", None)
        if end is not None:
            seed_all(mixed(self._created.seed, pass_index, 2))  # alike on all ranks
            end()

    def close(self) -> None:
        """No-op: threads end with a pass."""


def _threaded(get: Callable[[int], Any], numbers: range, threads: int) -> Iterator[Any]:
    """Yield batches in order, which some threads make in advance."""
    with ThreadPoolExecutor(threads, "orca-batches") as pool:
        left = iter(numbers)
        coming = [pool.submit(get, number) for number in islice(left, 2 * threads)]
        while coming:
            # no limit: the user's own code
            batch = coming.pop(0).result()
            coming += [pool.submit(get, number) for number in islice(left, 1)]
            yield batch
