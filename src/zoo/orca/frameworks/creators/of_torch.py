"""torch DataLoaders of data sets with numbered rows, dealt out row by row.

All ranks have the same loader, draw the same order, cut it into global batches and take their part
of each. So the rows of a step do not depend on the number of workers.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from zoo.orca.errors import DataError
from zoo.orca.frameworks.creators.loader import end_processes, one_pass, tell_pass
from zoo.orca.frameworks.creators.seeds import mixed, seed_all
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created

#: Options of a DataLoader that Orca's programs put into `config`.
_OPTIONS = (
    "num_workers",
    "collate_fn",
    "pin_memory",
    "drop_last",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
)
#: Options that stay when a loader gets another order.
_KEPT = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "generator")


def loader_over(
    dataset: Dataset[Any], created: Created, batch_size: int, config: Mapping[str, Any]
) -> DataLoader[Any]:
    """Return a loader over a data set alone, with the options that `config` has."""
    options = {name: config[name] for name in _OPTIONS if name in config}
    if not isinstance(dataset, IterableDataset):
        shuffle = created.role == "train"
        options["shuffle"] = bool(config.get("shuffle", shuffle)) and shuffle
    return DataLoader(dataset, batch_size=batch_size, **options)


def is_own(loader: DataLoader[Any]) -> bool:
    """Whether a loader's rows are this worker's own: Orca cannot, or must not, deal them out."""
    if isinstance(loader.dataset, IterableDataset):
        return True
    if type(loader).__iter__ is not DataLoader.__iter__:
        return True
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        return True
    sampler = loader.sampler
    if type(sampler) is RandomSampler:
        return bool(sampler.replacement or sampler._num_samples is not None)
    return type(sampler) is not SequentialSampler


class DealtLoader:
    """A worker's rows of a data set that all workers have alike; made on all ranks."""

    is_dealt = True

    def __init__(self, loader: DataLoader[Any], created: Created, collective: Collective) -> None:
        self._given, self._created, self._rank = loader, created, collective.rank
        sizes = np.zeros(collective.size, np.int64)
        # Without batches of its own, each row is a batch.
        sizes[self._rank] = loader.batch_size or 1
        collective.all_reduce(sizes)
        rows = np.array([len(loader.dataset)] * 2, np.int64)
        rows[1] *= self._rank == 0
        collective.all_reduce(rows)
        if rows[0] != rows[1] * collective.size:
            raise DataError(
                f"the data sets of {created.argument} have {rows[0]:,} rows on the "
                f"{collective.size} workers together, and {rows[1]:,} on rank 0: a data set with "
                "numbered rows is dealt out, so it must be the same on all\nReturn all rows "
                "everywhere; or pass the DataLoader a sampler: then its rows are a worker's own"
            )
        self._order = DealtOrder(
            loader.sampler, sizes.tolist(), self._rank, drop_last=bool(loader.drop_last)
        )
        self._order.single = loader.batch_size is None
        self._loader = _with_order(loader, self._order)
        self.length: int | None = len(self._order)

    def batches(self, pass_index: int) -> Iterator[Any]:
        """Yield this rank's batches of a pass."""
        self._order.seed = mixed(self._created.seed, pass_index)
        generator = self._given.generator
        if generator is not None:
            generator.manual_seed(self._order.seed)
        tell_pass(self._given, pass_index)
        seed_all(mixed(self._created.seed, pass_index, self._rank, 1))
        yield from one_pass(self._loader)

    def close(self) -> None:
        """End the loader's processes that stay."""
        end_processes(self._loader)


class DealtOrder:
    """The numbers of this rank's rows of each step, for a DataLoader.

    Parameters
    ----------
    sampler : iterable
        Yields the numbers of all rows.
    sizes : sequence of int
        The ranks' batch sizes.
    rank : int
    drop_last : bool
        Whether a last global batch that is not full is left out.

    Attributes
    ----------
    seed : int
        Fixes the order of the next pass, alike on all ranks.
    single : bool
        Whether the loader wants single numbers instead of lists.
    """

    def __init__(
        self, sampler: Sampler[Any], sizes: Sequence[int], rank: int, *, drop_last: bool
    ) -> None:
        self._sampler, self._drop_last = sampler, drop_last
        self._whole = sum(sizes)
        self._low = sum(sizes[:rank])
        self._high = self._low + sizes[rank]
        self.seed, self.single = 0, False

    def __iter__(self) -> Iterator[Any]:
        """Yield the numbers of a step's rows."""
        before = torch.get_rng_state()
        torch.manual_seed(self.seed)
        numbers = iter(self._sampler)
        first = next(numbers, None)  # draws the order
        torch.set_rng_state(before)
        if first is None:
            return
        whole, block = self._whole, [first, *islice(numbers, self._whole - 1)]
        while block:
            low, high = self._part(len(block))
            if low < high and (len(block) == whole or not self._drop_last):
                yield block[low] if self.single else block[low:high]
            block = list(islice(numbers, whole))

    def __len__(self) -> int:
        """Return the number of this rank's batches in a pass."""
        full, rest = divmod(len(self._sampler), self._whole)
        low, high = self._part(rest)
        return full + (low < high and not self._drop_last)

    def _part(self, rows: int) -> tuple[int, int]:
        """Return this rank's part of a global batch of so many rows."""
        return rows * self._low // self._whole, rows * self._high // self._whole


def _with_order(loader: DataLoader[Any], order: DealtOrder) -> DataLoader[Any]:
    """Return a loader like the user's, with another order."""
    options: dict[str, Any] = {name: getattr(loader, name) for name in _KEPT}
    if loader.num_workers:
        options["multiprocessing_context"] = loader.multiprocessing_context
        options["prefetch_factor"] = loader.prefetch_factor
        options["persistent_workers"] = loader.persistent_workers
    if loader.pin_memory_device:
        options["pin_memory_device"] = loader.pin_memory_device
    if hasattr(loader, "in_order"):
        options["in_order"] = loader.in_order
    if order.single:
        return DataLoader(loader.dataset, batch_size=None, sampler=order, **options)
    return DataLoader(loader.dataset, batch_sampler=order, **options)
