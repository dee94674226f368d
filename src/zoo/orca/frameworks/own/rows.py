"""One worker's rows for a loop of the user's own, in the steps that `fit` would take."""

import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import WorkerError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.plans.held import of_one_pass, own_rows
from zoo.orca.worker.plugin import Rows

if TYPE_CHECKING:
    import tensorflow as tf
    import torch


class StepRows(dict[str, NDArray[Any]]):
    """One step's rows on this worker: an array for each column.

    Attributes
    ----------
    rows : int
        The step's rows on this worker; it may be 0, and then the arrays are empty.
    of : int
        The step's rows on all workers together.
    """

    rows: int
    of: int

    def __init__(self, columns: Mapping[str, NDArray[Any]], rows: int, of: int) -> None:
        super().__init__(columns)
        self.rows, self.of = rows, of


class WorkerRows(Mapping[str, NDArray[Any]]):
    """The rows of one worker: an array for each column, by the names in the DataFrame.

    Masks of padded columns come last, by their own names.

    ``rows["user"]`` has this worker's rows alone, in memory. Where the order is canonical, all
    workers' rows, rank after rank, are one sequence that does not depend on how many they are.
    Texts are `str`, and raw bytes `bytes`, in arrays of objects. `batches` reads the rows of each
    step from a mapped file, so memory does not limit it.

    Attributes
    ----------
    features, labels : tuple of str
        The names of `feature_cols` and `label_cols`, in order.
    """

    def __init__(self, rows: Rows, rank: int) -> None:
        self._rows, self._rank = rows, rank
        self._whole: dict[str, NDArray[Any]] = {}
        spec: FeatureSpec = rows.spec
        self._specs = {column.name: column for column in (*spec.columns, *spec.masks)}
        self.features = tuple(column.name for column in spec.features)
        self.labels = tuple(column.name for column in spec.labels)
        # Rows that this worker has given away may still lie in its file.
        self._own = own_rows(rows.plan, rank)

    @property
    def count(self) -> int:
        """The number of this worker's rows; workers differ by one at most, or as partitions do."""
        return len(self._own)

    @property
    def total(self) -> int:
        """The rows of all workers together."""
        return self._rows.plan.rows

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column of this worker's rows."""
        if name not in self._whole:
            found = self._taken_of(name, self._own)
            # Whoever wrote to it would change what the next one gets.
            found.flags.writeable = False
            self._whole[name] = found
        return self._whole[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def steps(self, batch_size: int) -> int:
        """Return the steps of an epoch: the same number on all workers."""
        return -(-self.total // _checked("batch_size", batch_size, 1))

    def batches(self, batch_size: int, epoch: int = 0) -> Iterator[StepRows]:
        """Yield this worker's rows of each step of one epoch, in the order of `fit`.

        An epoch uses each row once. A step has `batch_size` rows over all workers together, the
        last one perhaps fewer. Which rows these are depends on the rows, the seed, the batch size
        and the epoch: on any number of workers, if `fit` would say that its order is canonical.
        Every worker gets the same number of steps. Where `batch_size` is a multiple of the workers,
        they have equal shares of every full step.

        Parameters
        ----------
        batch_size : int
            Rows of one step over all workers together.
        epoch : int
            Its number, from 0. Each epoch has another order.

        Yields
        ------
        StepRows
            A dict of arrays, with `rows`, this worker's number, and `of`, all workers'.
        """
        size = _checked("batch_size", batch_size, 1)
        return self._taken(size, _checked("epoch", epoch, 0))

    def torch_dataset(
        self, batch_size: int | None = None, epoch: int = 0, *, of: str | None = None
    ) -> "torch.utils.data.Dataset[dict[str, Any]]":
        """Return the rows as a dataset of PyTorch's, whose items are dicts of tensors by column.

        Without `batch_size`, item `i` is this worker's row `i`. With it, the dataset is an iterable
        of steps, as `batches` yields them: give it to ``DataLoader(dataset, batch_size=None)``.
        Each iteration takes the next epoch, from `epoch` on; ``dataset.set_epoch(n)`` chooses one.

        Libraries average gradients over workers, not over rows. Where shares are not equal, as
        they may be in an epoch's last step, ``losses.sum() * worker.size / step[of]`` is the loss
        whose average is the mean over the step's rows: `of` is a name for that entry, the step's
        rows on all workers together.
        """
        from zoo.orca.frameworks.own.torch_datasets import StepDataset, TableDataset

        if batch_size is None:
            return TableDataset(self)
        size, first = _checked("batch_size", batch_size, 1), _checked("epoch", epoch, 0)
        return StepDataset(self, size, first, of)

    def tf_dataset(self, batch_size: int | None = None, epoch: int = 0) -> "tf.data.Dataset":
        """Return the rows as a ``tf.data.Dataset``, whose elements are dicts of tensors by column.

        Without `batch_size`, an element is one of this worker's rows. With it, an element is one
        step of an epoch, as `batches` yields them.
        """
        from zoo.orca.frameworks.own.tensorflow_dataset import dataset

        if batch_size is not None:
            _checked("batch_size", batch_size, 1)
        return dataset(self, batch_size, _checked("epoch", epoch, 0))

    def spec(self, name: str) -> ColumnSpec:
        """Return what a column is."""
        return self._specs[name]

    def _taken(self, batch_size: int, epoch: int) -> Iterator[StepRows]:
        plan = self._rows.plan
        left = plan.rows
        for chosen in of_one_pass(plan, self._rank, batch_size, epoch):
            of = min(batch_size, left)
            left -= of
            taken = {name: self._taken_of(name, chosen) for name in self._specs}
            yield StepRows(taken, len(chosen), of)

    def _taken_of(self, name: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Return chosen rows of a column; where it lies, others may be no longer this worker's."""
        spec = self._specs.get(name)
        if spec is None:
            raise KeyError(f"{name!r} is none of the columns {list(self._specs)}")
        values: NDArray[Any] = self._rows.columns[name][rows]
        if spec.dtype != "string" or spec.binary:
            return values
        texts = np.empty(values.size, object)
        texts[:] = [one.decode() for one in values.reshape(-1)]
        return texts.reshape(values.shape)


def _checked(name: str, value: int, least: int) -> int:
    """Return a whole number, numpy's as well."""
    try:
        found = operator.index(value)
    except TypeError:
        found = least - 1
    if found < least or isinstance(value, bool):
        raise WorkerError(
            f"{name} must be a whole number from {least}, got {value!r}\nWrite {name}={least}, "
            "or more"
        )
    return found
