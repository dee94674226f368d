"""How shards are cut into pieces for other shards, keeping the order of rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from zoo.orca.errors import DataError
from zoo.orca.wire.shards.packed import is_pandas
from zoo.orca.worker.shards.pieces import cut_rows, rows_of

#: Shards are computed once to be counted, and again where what was kept of them is lost.
OTHER_EACH_TIME = (
    "They come out otherwise each time they are computed: let functions draw random numbers from a "
    "seed, or save them first, save_pickle(path)"
)


class Cutter(Protocol):
    """Cuts a shard into pieces."""

    def __call__(self, shard: Any, index: int) -> Iterator[tuple[int, Any]]:
        """Yield the number of the shard that a piece goes to, and the piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evenly:
    """Cuts shards so that all new ones have as many rows as any other, or one more.

    Parameters
    ----------
    spans : Mapping of int to (int, int)
        The first row of each shard, by its index, counted over all shards, and the one behind its
        last.
    shards : int
        The number of shards that will be.
    """

    spans: Mapping[int, tuple[int, int]]
    shards: int

    def __call__(self, shard: Any, index: int) -> Iterator[tuple[int, Any]]:
        """Yield the pieces; the first shard also gives an empty one to those without rows."""
        start, end = self.spans.get(index, (0, -1))
        if rows_of(shard) != end - start:
            raise DataError(
                f"the shard has {rows_of(shard)} rows, and had {end - start} when they were "
                f"counted\n{OTHER_EACH_TIME}"
            )
        is_first = index == min(self.spans)
        for target in range(self.shards):
            low, high = self._edge(target), self._edge(target + 1)
            if is_first or max(low, start) < min(high, end):
                low, high = (max(start, min(edge, end)) - start for edge in (low, high))
                yield target, cut_rows(shard, low, high)

    def _edge(self, target: int) -> int:
        # The first shards have one row more, as numpy.array_split makes them.
        total = max(end for _, end in self.spans.values())
        each, more = divmod(total, self.shards)
        return target * each + min(target, more)


@dataclass(frozen=True, slots=True, kw_only=True)
class ByColumn:
    """Cuts frames by a hash of a column: rows with equal values go to one shard.

    Parameters
    ----------
    column : str
    shards : int
    """

    column: str
    shards: int

    def __call__(self, shard: Any, index: int) -> Iterator[tuple[int, Any]]:
        """Yield a piece for every shard, be it empty: it has the columns at least."""
        import pandas as pd

        if not is_pandas(shard):
            raise DataError(
                f"the shard is a {type(shard).__name__}, not a pandas DataFrame\n"
                "partition_by takes shards of frames"
            )
        if self.column not in shard.columns:
            raise DataError(
                f"there is no column {self.column!r}\nThe frame has the columns "
                f"{', '.join(map(repr, shard.columns))}"
            )
        values = shard[self.column]
        # Equal values must hash alike in all shards, whatever type nulls have made of them there.
        if values.dtype.kind in "iuf":
            values = values.astype(np.float64) + 0.0  # -0.0 is 0.0
        elif values.dtype.kind == "b":
            values = values.astype(object)
        targets = pd.util.hash_array(values.to_numpy()) % self.shards
        for target in range(self.shards):
            yield target, shard[targets == target]
