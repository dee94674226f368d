"""Rows as tensors, one step after another in the plan's order.

A thread gathers several steps at once, ahead of the training. A step is then a view of them, so no
row is copied twice and little Python runs per step.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.common.structures import Structure
from zoo.orca.frameworks.torch.row_shapes import SAMPLE_ROWS
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.plans.plan import Plan
from zoo.orca.worker.plugin import Rows
from zoo.orca.worker.rows.steps import Arrays, Chunk, Steps
from zoo.orca.worker.rows.transform import TransformedColumns

#: Chunks that are gathered in advance.
_AHEAD = 2
_LOOK_SECONDS = 0.1


class Batch(NamedTuple):
    """One step's rows on this rank.

    Parameters
    ----------
    features : tuple or dict of tensor
    target : tensor, tuple of tensor or dict of tensor, or None
    weight : tensor of shape (rows,) or None
    rows, of : int
        This rank's and all ranks' row counts of the step. A rank with 0 rows still has one row,
        which does not count.
    """

    features: Structure
    target: Structure
    weight: torch.Tensor | None
    rows: int
    of: int

    def shown(self) -> "Shown":
        """Return the batch in the form of Orca's hooks and callbacks."""
        features = self.features if isinstance(self.features, tuple) else (self.features,)
        return Shown(features if self.target is None else (*features, self.target), self)


class Shown(tuple[Any, ...]):
    """A step's batch as in Orca, ``*features, target = batch``, with the members of a `Batch`."""

    features: Structure
    target: Structure
    weight: torch.Tensor | None
    rows: int
    of: int

    def __new__(cls, members: Iterable[Any], batch: Batch) -> "Shown":
        """Return the members of the tuple, which are those of the batch."""
        made = super().__new__(cls, members)
        made.features, made.target, made.weight, made.rows, made.of = batch
        return made

    def replaced_by(self, given: object) -> "Shown":
        """Return a callback's replacement of the batch, with the batch's weights and counts.

        Raises
        ------
        ModelError
            If it has another form, or another number of rows.
        """
        if isinstance(given, Shown):
            return given
        count = max(self.rows, 1)
        if not isinstance(given, (list, tuple)) or len(given) != len(self):
            raise ModelError(
                f"a callback has made the batch a {type(given).__name__}\n"
                f"Set runner.batch to {len(self)} values, (*features, target), as it was"
            )
        if any(isinstance(one, torch.Tensor) and len(one) != count for one in given):
            raise ModelError(
                f"a callback has put a batch of other rows in the place of one of {count}\n"
                "Every step has the rows that the plan of all workers gives it"
            )
        has_target = self.target is not None
        features = tuple(given[:-1] if has_target else given)
        if not isinstance(self.features, tuple):
            features = features[0]
        target = given[-1] if has_target else None
        return Batch(features, target, self.weight, self.rows, self.of).shown()


class BatchLayout:
    """How columns become the tensors of a batch.

    Attributes
    ----------
    label_dtypes : dict of str to dtype
        The dtypes of label columns. Unnamed columns keep theirs.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self.label_dtypes: dict[str, Any] = {}

    def features(self, columns: Arrays) -> dict[str, NDArray[Any]]:
        """Return the arrays of the features, by position."""
        names = [column.name for column in self._spec.features]
        return {f"x{k}": columns[name] for k, name in enumerate(names)}

    def arrays(self, columns: Arrays) -> dict[str, NDArray[Any]]:
        """Return the arrays of a batch: features, labels and weights."""
        found = self.features(columns)
        for k, column in enumerate(self._spec.labels):
            values = columns[column.name]
            dtype = self.label_dtypes.get(column.name, values.dtype)
            found[f"y{k}"] = values.astype(dtype, copy=False)
        if self._spec.weight is not None:
            found["weight"] = columns[self._spec.weight.name].astype(np.float32, copy=False)
        return found

    def pack_features(self, tensors: list[torch.Tensor]) -> Structure:
        """Return the features as the model is called with them: by position or by keyword."""
        keys = self._spec.feature_keys
        return tuple(tensors) if keys is None else dict(zip(keys, tensors, strict=True))

    def pack(self, tensors: list[torch.Tensor], rows: int, of: int) -> Batch:
        """Return a batch from the tensors of `arrays`, in their order."""
        end = len(self._spec.features)
        stop = end + len(self._spec.labels)
        labels = tensors[end:stop]
        target: Any = None
        if self._spec.label_keys is not None:
            target = dict(zip(self._spec.label_keys, labels, strict=True))
        elif labels:
            target = labels[0] if len(labels) == 1 else tuple(labels)
        weight = tensors[stop] if self._spec.weight is not None else None
        return Batch(self.pack_features(tensors[:end]), target, weight, rows, of)

    def placeholder(self) -> dict[str, NDArray[Any]] | None:
        """Return two rows of zeros for the features; None while a column's length is unknown."""
        if any(None in column.shape for column in self._spec.features):
            return None
        return {column.name: _zeros(column) for column in self._spec.features}


class TensorFeed:
    """Batches of one rank's rows.

    Parameters
    ----------
    rows : Rows
    rank : int
    layout : BatchLayout
    device : torch.device
        The device for batches, one chunk at a time.
    """

    def __init__(self, rows: Rows, rank: int, layout: BatchLayout, device: torch.device) -> None:
        some = rows.columns
        if not isinstance(some, TransformedColumns):
            some = {name: _some(values) for name, values in some.items()}
        self.plan: Plan = rows.plan
        self._layout, self._device = layout, device
        self._steps = Steps(rows.plan, rank, some, layout.arrays)

    def sample(self) -> Batch:
        """Return a batch of two rows: the first two, or a single one twice.

        One row does not show what an output's first axis is.
        """
        found = [_own(values) for values in self._steps.sample().values()]
        rows = [np.resize(values, (SAMPLE_ROWS, *values.shape[1:])) for values in found]
        tensors = [torch.from_numpy(values).to(self._device) for values in rows]
        return self._layout.pack(tensors, SAMPLE_ROWS, SAMPLE_ROWS)

    def take(self, start: int, count: int) -> Iterator[Batch]:
        """Yield `count` steps from step `start` on; steps are numbered over all passes."""
        for chunk in ahead(self._steps.take(start, count)):
            yield from self._cut(chunk)

    def _cut(self, chunk: Chunk) -> Iterator[Batch]:
        tensors = [torch.from_numpy(values) for values in chunk.arrays.values()]
        if self._device.type != "cpu":
            tensors = [tensor.to(self._device, non_blocking=True) for tensor in tensors]
        most = tensors[0].shape[1]
        columns = [tensor.unbind(0) for tensor in tensors]
        pack = self._layout.pack
        for k, (rows, of) in enumerate(zip(chunk.rows.tolist(), chunk.of.tolist(), strict=True)):
            cut = [column[k] for column in columns]
            if rows != most:
                cut = [tensor[: max(rows, 1)] for tensor in cut]
            yield pack(cut, rows, of)


def ahead(chunks: Iterator[Any]) -> Iterator[Any]:
    """Yield an iterator's items, computed in advance in a thread.

    The thread ends with this generator: normally, by an error, or closed.
    """
    queue: Queue[tuple[bool, Any]] = Queue(_AHEAD)
    over = threading.Event()

    def put(item: tuple[bool, Any]) -> bool:
        while not over.is_set():
            try:
                queue.put(item, timeout=_LOOK_SECONDS)
                return True
            except Full:
                continue
        return False

    def run() -> None:
        try:
            for chunk in chunks:
                if not put((True, chunk)):
                    return
            put((False, None))
        except BaseException as error:  # raised again where the chunks are used
            put((False, error))

    thread = threading.Thread(target=run, name="orca-feed", daemon=True)
    thread.start()
    try:
        yield from _received(queue, thread)
    finally:
        over.set()
        # no limit: it looks at `over` between two chunks, which it reads from this machine's files
        thread.join()


def _received(queue: "Queue[tuple[bool, Any]]", thread: threading.Thread) -> Iterator[Any]:
    while True:
        try:
            more, value = queue.get(timeout=_LOOK_SECONDS)
        except Empty:
            if not thread.is_alive() and queue.empty():
                raise RuntimeError("the thread that gathers rows has ended") from None
            continue
        if more:
            yield value
        elif value is None:
            return
        else:
            raise value


def _some(values: NDArray[Any]) -> NDArray[Any]:
    """Return rows; if a rank has none, one row of zeros."""
    return values if len(values) else np.zeros((1, *values.shape[1:]), values.dtype)


def _own(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array that can become a tensor: mapped files are read-only."""
    return values if values.flags.writeable else values.copy()


def _zeros(column: ColumnSpec) -> NDArray[Any]:
    return np.zeros((2, *(length or 0 for length in column.shape)), column.dtype)


def tensors_of(layout: BatchLayout, columns: Mapping[str, NDArray[Any]]) -> list[torch.Tensor]:
    """Return the feature tensors of some columns."""
    return [torch.from_numpy(_own(values)) for values in layout.features(columns).values()]
