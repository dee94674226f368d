"""What the transformers do to each frame, once they know all rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.wire.shards.shared import SharedValue
from zoo.orca.worker.shards.steps import Selected


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Moves and scales columns: ``(value - shift) * scale + base``.

    Parameters
    ----------
    columns : sequence of str
    shift, scale, base : sequence of float
        One number for each column.
    output : str
        The new column.
    is_single : bool
        Whether each row gets a number; else it gets an array with one for each column.
    """

    columns: Sequence[str]
    shift: Sequence[float]
    scale: Sequence[float]
    base: Sequence[float]
    output: str
    is_single: bool

    def __call__(self, shard: Any) -> Any:
        """Return the frame with one column more, or another one in place of the old."""
        frame = Selected(list(self.columns))(shard)
        values: NDArray[np.float64] = frame.to_numpy(dtype=np.float64)
        scaled = (values - np.array(self.shift)) * np.array(self.scale) + np.array(self.base)
        if self.is_single:
            return shard.assign(**{self.output: scaled[:, 0]})
        return shard.assign(**{self.output: np.fromiter(scaled, object, len(scaled))})


@dataclass(frozen=True, slots=True)
class Numbered:
    """Replaces the values of a column by their numbers; a value without one becomes missing."""

    column: str
    numbers: SharedValue

    def __call__(self, shard: Any) -> Any:
        """Return the frame with numbers in the column."""
        values = Selected([self.column])(shard)[self.column]
        found = values.map(self.numbers.value)
        kind = "Int64" if found.isna().any() else np.int64
        return shard.assign(**{self.column: found.astype(kind)})
