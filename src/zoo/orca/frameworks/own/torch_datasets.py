"""A worker's rows as PyTorch's datasets."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from zoo.orca.errors import WorkerError

if TYPE_CHECKING:
    from zoo.orca.frameworks.own.rows import WorkerRows

Item = dict[str, Any]


class TableDataset(Dataset):  # type: ignore[misc]
    """The rows of a worker, one by one."""

    def __init__(self, rows: "WorkerRows") -> None:
        self._columns = dict(rows)
        self._count = rows.count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Item:
        return _row(self._columns, index)


class StepDataset(IterableDataset):  # type: ignore[misc]
    """One worker's part of each step; an iteration is an epoch.

    Parameters
    ----------
    rows : WorkerRows
    batch_size : int
        Rows of one step over all workers together.
    epoch : int
        The first iteration's.
    of : str or None
        The name of one more entry: the step's rows on all workers.
    """

    def __init__(self, rows: "WorkerRows", batch_size: int, epoch: int, of: str | None) -> None:
        self._rows, self._batch_size, self._next = rows, batch_size, epoch
        self._of = of

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration take this epoch."""
        self._next = epoch

    def __len__(self) -> int:
        return self._rows.steps(self._batch_size)

    def __iter__(self) -> Iterator[Item]:
        if get_worker_info() is not None:
            # Each process of the loader would count epochs, and give out every step, by itself.
            raise WorkerError(
                "a DataLoader with num_workers cannot take the steps of torch_dataset(batch_size)\n"
                "Leave num_workers out: DataLoader(dataset, batch_size=None)"
            )
        epoch, self._next = self._next, self._next + 1
        return self._steps(epoch)

    def _steps(self, epoch: int) -> Iterator[Item]:
        for step in self._rows.batches(self._batch_size, epoch):
            found = {name: _tensor(values) for name, values in step.items()}
            if self._of is not None:
                found[self._of] = torch.tensor(step.of)
            yield found


def _row(columns: Mapping[str, NDArray[Any]], index: int) -> Item:
    """Return one row; torch makes tensors of numbers alone."""
    found = {}
    for name, values in columns.items():
        one = values[index]
        found[name] = one if values.dtype == object else torch.from_numpy(np.array(one))
    return found


def _tensor(values: NDArray[Any]) -> Any:
    # What is gathered for a step is a copy already.
    return values.tolist() if values.dtype == object else torch.from_numpy(values)
