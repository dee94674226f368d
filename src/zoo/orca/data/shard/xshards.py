"""A collection of Python values, the shards, spread over the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.shard.lazy import (
    LazyShards,
    Shard,
    asked,
    in_order,
    local_shards,
    paired,
    status_of,
)
from zoo.orca.data.shard.rdds import is_rdd, shards_of_rdd
from zoo.orca.data.shard.splitting import split_rows
from zoo.orca.data.shard.tables import FrameMethods
from zoo.orca.driver.session.cluster import is_local, slots
from zoo.orca.errors import InvalidInputError
from zoo.orca.files import whole_path
from zoo.orca.wire.shards.packed import COLUMNS
from zoo.orca.worker.shards.cutting import ByColumn, Evenly
from zoo.orca.worker.shards.steps import (
    Function,
    Item,
    UsersCall,
    measure,
    number_of_items,
    unique_values,
)


class XShards(FrameMethods):
    """A collection of Python values, spread over the cluster and kept in their order.

    A shard is any value that can be pickled: a pandas frame, an array, a dict of arrays. Nothing is
    computed until it is needed; `cache` and `compute` do it at once, and so does every call while
    ``OrcaContext._eager_mode`` is true. `XShards.partition`, `XShards.load_pickle` and the readers
    in `zoo.orca.data` make such collections.

    Parameters
    ----------
    shards : LazyShards or RDD
        An RDD's elements become the shards.
    """

    def __init__(self, shards: Any, transient: bool = False, class_name: str | None = None) -> None:
        if is_rdd(shards):
            shards = shards_of_rdd(shards)
        if not isinstance(shards, LazyShards):
            raise InvalidInputError(
                f"an XShards cannot be made of a {type(shards).__name__}\n"
                "Make one with XShards.partition(arrays), zoo.orca.data.pandas.read_csv(path) and "
                "the like, or XShards.load_pickle(path)"
            )
        self._lazy: LazyShards = shards
        #: What they were before they were computed, and the frame that holds them.
        self._before: LazyShards | None = None
        self._held: DataFrame | None = None
        self._is_users = False

    @staticmethod
    def partition(data: Any, num_shards: int | None = None) -> XShards:
        """Divide arrays by their rows.

        Parameters
        ----------
        data : array, or nested list, tuple or dict of arrays
            Each shard has the same structure. All arrays have the same number of rows. Frames and
            Series of pandas may stand for arrays.
        num_shards : int, optional
            By default as many as tasks run at once.

        Returns
        -------
        XShards

        Raises
        ------
        InvalidInputError
            If arrays differ in rows, or have fewer rows than there are shards.
        """
        spark = OrcaContext.get_spark_session()
        shards = num_shards if num_shards is not None else slots(spark) or 2
        return made(local_shards(spark, split_rows(data, _counted("num_shards", shards))))

    @classmethod
    def load_pickle(cls, path: str, minPartitions: int | None = None) -> XShards:
        """Read shards that `save_pickle` wrote; like every pickle, they may run code.

        Parameters
        ----------
        path : str
            A directory, by path or URL, that Spark reads.
        minPartitions : int, optional
            Has no effect: each shard is in a partition of its own.
        """
        spark = OrcaContext.get_spark_session()
        where = _from_here(spark, path)
        frame = asked(spark, lambda: spark.read.parquet(where))
        if set(frame.columns) != set(COLUMNS):
            raise InvalidInputError(
                f"{path} has no shards, but the columns {', '.join(map(repr, frame.columns))}\n"
                "Name a directory that save_pickle wrote; read_parquet reads others"
            )
        return made(in_order(frame))

    def save_pickle(self, path: str, batchSize: int = 10) -> XShards:
        """Compute the shards and write them to a new directory.

        Parameters
        ----------
        path : str
            A directory that does not exist, by path or URL; Spark writes it.
        batchSize : int
            Has no effect: each shard is a row of a Parquet file.

        Returns
        -------
        XShards
            These shards.
        """
        writer, where = self._lazy.checked().write, _from_here(self._lazy.spark, path)
        asked(self._lazy.spark, lambda: writer.parquet(where))
        return self

    @property
    def session(self) -> SparkSession:
        """The session that the shards are in."""
        return self._lazy.spark

    def transform_shard(self, func: Callable[..., Any], *args: Any) -> XShards:
        """Apply a function to each shard.

        Parameters
        ----------
        func : callable
            Gets a shard, then `args`; returns the new shard. It goes to the workers with all of
            your code that it needs.
        *args
            More arguments for it.

        Returns
        -------
        XShards

        Raises
        ------
        CreatorError
            If the function or an argument cannot be sent to the workers.
        InvalidInputError
            If `func` is no function.
        """
        if not callable(func):
            raise InvalidInputError(
                f"transform_shard takes a function, got {func!r}\n"
                "Write transform_shard(func, *args): func(shard, *args) is called for each shard"
            )
        return self._with((func, args), "func")

    def collect(self) -> list[Any]:
        """Compute all shards and return them as a list, in order.

        Raises
        ------
        ShardError
            If a function failed on a shard; names the shard.
        """
        return [shard.value for shard in self._lazy.collect()]

    def first(self) -> Any:
        """Return the first shard; others are not computed."""
        found = self._lazy.first(1)
        if not found:
            raise InvalidInputError("there are no shards\nLook at what was read or selected")
        return found[0].value

    def take(self, n: int) -> list[Any]:
        """Return the first `n` shards as a list."""
        return [shard.value for shard in self._lazy.first(_counted("n", n))]

    def num_partitions(self) -> int:
        """Return the number of partitions: of shards, unless `repartition` has spread others."""
        if self._lazy.partitions is None:
            self._lazy = replace(self._lazy, partitions=len(self._lazy.status()))
        return self._lazy.partitions or 0

    def repartition(self, num_partitions: int) -> XShards:
        """Make as many shards of the same rows, in the same order.

        Frames, arrays, lists, and dicts and tuples of arrays are cut and joined, so that all shards
        have as many rows, or one more. Any other shard stays whole; such shards are spread over
        the partitions. These shards are computed, to be counted, and kept as by `compute`.
        """
        count = _counted("num_partitions", num_partitions)
        shards = self.compute()._lazy.then(measure).collect()
        kinds = {shard.value[0] for shard in shards}
        spans, total = dict[int, tuple[int, int]](), 0
        for shard in shards:
            rows = shard.value[1] or 0
            spans[shard.index] = (total, total + rows)
            total += rows
        if shards and len(kinds) == 1 and all(shard.value[1] is not None for shard in shards):
            return self._new(self._lazy.regrouped(Evenly(spans=spans, shards=count), count))
        return self._new(self._lazy.placed(_spread(shards, count), count))

    def partition_by(self, cols: str, num_partitions: int | None = None) -> XShards:
        """Put the rows of frames with equal values in a column into one shard.

        Parameters
        ----------
        cols : str
            One column.
        num_partitions : int, optional
            The number of shards; by default as many as there are.
        """
        if isinstance(cols, (list, tuple)) and len(cols) == 1:
            (cols,) = cols
        if not isinstance(cols, str):
            raise InvalidInputError(
                f"partition_by takes the name of one column, got {cols!r}\n"
                "Write partition_by('column')"
            )
        if num_partitions is None:
            num_partitions = self.num_partitions()
        count = _counted("num_partitions", num_partitions)
        return self._new(self._lazy.regrouped(ByColumn(column=cols, shards=count), count))

    def unique(self) -> Any:
        """Return the different values of shards that are Series, as one array."""
        import numpy as np
        import pandas as pd

        found = [shard.value for shard in self._lazy.then(unique_values).collect()]
        return pd.unique(np.concatenate(found)) if found else np.array([])

    def split(self) -> list[XShards]:
        """Return one XShards for each item of shards that are lists or tuples of equal length.

        Other shards are not split: the list has this XShards alone.
        """
        lengths = {shard.value for shard in self._lazy.then(number_of_items).collect()}
        if len(lengths) > 1:
            told = ", ".join(str(one) if one >= 0 else "no list" for one in sorted(lengths))
            raise InvalidInputError(
                f"split takes shards that are lists of one length; these have {told}\n"
                "Make them alike with transform_shard"
            )
        count = lengths.pop() if lengths else -1
        return [self] if count < 0 else [self._with(Item(number)) for number in range(count)]

    def zip(self, other: XShards) -> XShards:
        """Pair each shard with the one of `other` at the same place, as tuples.

        Both are computed, to be counted, and kept as by `compute`.

        Raises
        ------
        InvalidInputError
            If `other` has another number of shards.
        """
        if not isinstance(other, XShards):
            raise InvalidInputError(
                f"zip takes an XShards, got a {type(other).__name__}\n"
                "Make one of it with XShards.partition"
            )
        mine, theirs = self.compute()._lazy.status(), other.compute()._lazy.status()
        if len(mine) != len(theirs):
            raise InvalidInputError(
                f"zip pairs shards one by one: here are {len(mine)}, there {len(theirs)}\n"
                "Give both the same number with repartition(n)"
            )
        right = other._lazy
        if [shard.index for shard in mine] != [shard.index for shard in theirs]:
            pairs = zip(theirs, mine, strict=True)
            right = right.renumbered({one.index: to.index for one, to in pairs})
        count = max(1, self._lazy.partitions or len(mine))
        return self._new(paired(self._lazy, right, _spread(mine, count), count))

    def __len__(self) -> int:
        """Return the sum of the shards' lengths; a shard without a length counts as one."""
        return sum(shard.rows for shard in self._lazy.status())

    def __getitem__(self, key: Any) -> XShards:
        """Return an XShards with this item, or column, of each shard."""
        return self._with(Item(key))

    # Without it, Python would iterate by asking for the items 0, 1, 2, ... without end.
    __iter__ = None

    def cache(self) -> XShards:
        """Compute the shards now and keep them, in memory and on disk, until `uncache`."""
        self._is_users = True
        return self.compute()

    def uncache(self) -> XShards:
        """Let go of what `cache` or `compute` keeps."""
        self._is_users = False
        if self._held is not None and self._before is not None:
            self._held.unpersist()
            self._lazy, self._before, self._held = self._before, None, None
        return self

    def is_cached(self) -> bool:
        """Whether the shards are computed and kept."""
        return self._held is not None

    def compute(self) -> XShards:
        """Compute the shards now; what they become is kept, as by `cache`.

        Raises
        ------
        ShardError
            If a function failed on a shard; names the shard.
        """
        if self._held is None:
            frame = self._lazy.frame().persist()
            try:
                shards = status_of(frame)
            except BaseException:
                frame.unpersist()
                raise
            known = self._lazy.partitions
            self._before, self._held = self._lazy, frame
            self._lazy = LazyShards(
                source=frame, partitions=len(shards) if known is None else known
            )
        return self

    def to_lazy(self) -> XShards:
        """Return the same shards, of which nothing is computed before it is needed."""
        return XShards(self._before or self._lazy)

    @staticmethod
    @contextlib.contextmanager
    def lazy(rdd: Any, class_name: str | None = None) -> Iterator[XShards]:
        """Give the elements of an RDD as shards, of which nothing is computed within the block.

        Parameters
        ----------
        rdd : RDD or XShards
        class_name : str, optional
            Has no effect.
        """
        before = OrcaContext._eager_mode
        OrcaContext._eager_mode = False
        try:
            yield rdd.to_lazy() if isinstance(rdd, XShards) else XShards(rdd)
        finally:
            OrcaContext._eager_mode = before

    def _with(self, function: Function | UsersCall, what: str = "the function") -> XShards:
        return self._new(self._lazy.then(function, what))

    def _new(self, shards: LazyShards) -> XShards:
        """Return shards made of these; computed at once, they replace what is kept of these."""
        found = made(shards)
        if found.is_cached() and not self._is_users:
            self.uncache()
        return found


def made(shards: LazyShards) -> XShards:
    """Return an XShards, computed if that is wanted at once."""
    found = XShards(shards)
    return found.compute() if OrcaContext._eager_mode else found


def _spread(shards: list[Shard], partitions: int) -> dict[int, int]:
    """Return the partition of each shard, by its index: neighbours stay together."""
    count = len(shards)
    return {shard.index: place * partitions // count for place, shard in enumerate(shards)}


def _counted(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInputError(
            f"{name} must be a whole number from 1, got {value!r}\nWrite {name}=1, or more"
        )
    return value


def _from_here(spark: SparkSession, path: str) -> str:
    """Return a path of this program's directory as Spark finds it, where that is this machine."""
    return whole_path(path) if is_local(spark) else str(path)


#: The original's name for shards that Spark holds.
SparkXShards = XShards
