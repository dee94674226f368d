"""Texts of rows that stay in a mapped file: those that are asked for become objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.worker.rows.arrays import from_numbers
from zoo.orca.worker.rows.columns import to_numpy


class Texts:
    """What an array of objects is to whoever takes rows of it, without one object in memory.

    Parameters
    ----------
    values : pa.Array
        Large binary values, those of all rows one after another.
    shape : sequence of int
        The number of rows, and the shape of one.
    """

    dtype = np.dtype(object)

    def __init__(self, values: pa.Array, shape: Sequence[int]) -> None:
        self._values, self.shape = values, tuple(shape)
        self._width = int(np.prod(self.shape[1:], dtype=np.int64))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """Return what an array of objects returns: of a slice, of numbers of rows, or of one."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                length = max(stop - start, 0)
                return self._objects(
                    self._values.slice(start * self._width, length * self._width), length
                )
            return self.take(np.arange(start, stop, step))
        if isinstance(rows, tuple):
            return np.asarray(self)[rows]
        chosen = np.asarray(rows)
        if chosen.dtype == np.bool_:
            return self.take(np.flatnonzero(chosen))
        if not chosen.ndim:
            return self.take(chosen.reshape(1))[0]
        return self.take(chosen.astype(np.int64, copy=False))

    def take(self, rows: NDArray[Any], axis: int = 0, **_: Any) -> NDArray[Any]:
        """Return chosen rows; `numpy.take` calls it with its own arguments."""
        if axis != 0:
            raise IndexError(f"only whole rows can be taken, got axis={axis}\nTake axis=0")
        chosen = np.asarray(rows, np.int64)
        if len(chosen) and not (-len(self) <= chosen.min() and chosen.max() < len(self)):
            raise IndexError(
                f"rows {chosen.min()} to {chosen.max()} of {len(self)}\nTake rows that are there"
            )
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        if self.shape[1:]:
            chosen = (chosen[:, None] * self._width + np.arange(self._width)).reshape(-1)
        return self._objects(
            self._values.take(from_numbers(np.ascontiguousarray(chosen))), len(rows)
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of them as objects."""
        found = self._objects(self._values, len(self))
        return found if dtype is None else found.astype(dtype)

    def _objects(self, values: pa.Array, rows: int) -> NDArray[Any]:
        return to_numpy(values, "string").reshape(rows, *self.shape[1:])
