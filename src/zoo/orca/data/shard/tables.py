"""What an XShards of pandas frames can do: tables, through Spark where all rows are needed."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.shard.lazy import LazyShards, asked, zone_of
from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.shards.packed import is_pandas
from zoo.orca.worker.shards.columns import WITHOUT_VALUES, FrameSchema, is_number
from zoo.orca.worker.shards.pieces import join_rows
from zoo.orca.worker.shards.steps import (
    Assemble,
    Function,
    Sample,
    Selected,
    UsersCall,
    Without,
    framed,
)

if TYPE_CHECKING:
    import pandas as pd

    from zoo.orca.data.shard.xshards import XShards

Names = str | Sequence[str]


class FrameMethods(ABC):
    """Methods for shards that are pandas frames, all with the same columns."""

    _lazy: LazyShards

    def to_spark_df(self) -> DataFrame:
        """Return the rows of all frames as a Spark DataFrame, lazily.

        The first shard is computed for its columns. pandas's missing numbers become nulls, and its
        times are in the session's time zone.

        Raises
        ------
        DataError
            If shards are no frames.
        """
        return self._lazy.frame_rows(self._schema())

    def get_schema(self) -> dict[str, Any]:
        """Return the first frame's ``columns`` and ``dtypes``."""
        frame = self._first_frame("get_schema")
        return {"columns": frame.columns, "dtypes": frame.dtypes}

    def head(self, n: int = 5) -> Any:
        """Return the first `n` rows, or items, of the first shard."""
        first = self._first()
        return first.head(n) if hasattr(first, "head") else first[:n]

    def group_by(
        self,
        columns: Names = (),
        agg: str | Sequence[str] | Mapping[str, Names] = "count",
        join: bool = False,
    ) -> XShards:
        """Aggregate rows with equal values.

        Parameters
        ----------
        columns : str or list of str
            What to group by; none makes one group of all rows.
        agg : str, list of str, or dict
            The names of Spark's aggregate functions, such as ``"sum"``: for all other columns, or
            ``{"column": "sum"}`` or ``{"column": ["min", "max"]}``. ``"count"`` counts rows.
        join : bool
            Whether to add the aggregates to the rows instead.

        Returns
        -------
        XShards
            The aggregates are called as Spark does: ``sum(column)``, ``count``.
        """
        df = self.to_spark_df()
        names = _listed(df, columns)
        grouped = df.groupBy(*map(quoted, names)).agg(*_aggregates(df, names, agg))
        if join:
            grouped = _joined(df, grouped, names) if names else df.crossJoin(grouped)
        return self._of_rows(grouped)

    def sort_values(
        self, col_names: Names | None = None, ascending: bool | Sequence[bool] = True
    ) -> XShards:
        """Sort all rows.

        Parameters
        ----------
        col_names : str or list of str, optional
            By default the first column.
        ascending : bool or list of bool
            The order, or that of each column.
        """
        df = self.to_spark_df()
        names = _listed(df, col_names if col_names is not None else df.columns[0])
        order = ascending if isinstance(ascending, bool) else list(ascending)
        return self._of_rows(df.orderBy(*map(quoted, names), ascending=order))

    def merge(self, right: XShards, how: str = "inner", on: Names | None = None) -> XShards:
        """Join with the frames of another XShards.

        Parameters
        ----------
        right : XShards
        how : str
            ``"inner"``, ``"left"``, ``"right"``, ``"outer"`` or another kind that Spark knows.
        on : str or list of str, optional
            Columns that both have; by default all such.

        Returns
        -------
        XShards
            Other columns that both have end in ``_x`` and ``_y``, as with pandas.
        """
        if not isinstance(right, FrameMethods):
            raise InvalidInputError(
                f"merge takes an XShards, got a {type(right).__name__}\n"
                "Make one of it with XShards.partition"
            )
        df, other = self.to_spark_df(), right.to_spark_df()
        if on is None:
            on = [name for name in df.columns if name in other.columns]
        names = _listed(df, on)
        _listed(other, names)
        both = {name for name in df.columns if name in other.columns and name not in names}
        df, other = _renamed(df, both, "_x"), _renamed(other, both, "_y")
        return self._of_rows(df.join(other, on=names, how=how))

    def deduplicates(self) -> XShards:
        """Keep one of equal rows."""
        return self._of_rows(self.to_spark_df().dropDuplicates())

    def describe(self, cols: Names | None = None) -> pd.DataFrame:
        """Return count, mean, standard deviation, minimum and maximum, as a pandas frame."""
        df = self.to_spark_df()
        names = _listed(df, cols if cols is not None else df.columns)
        # Under our own names: Spark's `describe` takes no name with a dot.
        own = {f"c{place}": name for place, name in enumerate(names)}
        told = df.select(*(F.col(quoted(name)).alias(one) for one, name in own.items())).describe()
        return self._asked(told.toDF(*(own.get(one, one) for one in told.columns)).toPandas)

    def max_values(self, col_name: str) -> Any:
        """Return the largest value of a column."""
        df = self.to_spark_df()
        (name,) = _listed(df, col_name)
        return self._asked(df.agg(F.max(quoted(name))).collect)[0][0]

    def get_null_sum(self) -> pd.DataFrame:
        """Return each column's number of missing values: a pandas frame, ``col`` and ``total``."""
        import pandas as pd

        df = self.to_spark_df()
        sums = [F.count_if(F.col(quoted(name)).isNull()) for name in df.columns]
        totals = self._asked(df.agg(*sums).collect)[0]
        return pd.DataFrame({"col": df.columns, "total": list(totals)})

    def drop_missing_value(self) -> XShards:
        """Drop the columns that have missing values."""
        found = self.get_null_sum()
        return self._with(Without(found[found["total"] > 0]["col"].tolist()))

    def select(self, cols: Names) -> XShards:
        """Return the frames with these columns alone."""
        names = [cols] if isinstance(cols, str) else list(cols)
        if not names:
            raise InvalidInputError("cols names no column\nName one: select(['column'])")
        return self._with(Selected(names))

    def sample(
        self,
        frac: float,
        replace: bool = False,
        weights: Any = None,
        random_state: int | None = None,
    ) -> XShards:
        """Return some rows of each frame, at random.

        Parameters
        ----------
        frac : float
            The part of the rows.
        replace : bool
            Whether a row may be taken several times.
        weights : str, optional
            A column of weights.
        random_state : int, optional
            The same number gives the same rows.
        """
        if random_state is None:
            # Drawn once: shards that are computed again must be the same.
            random_state = secrets.randbits(32)
        arguments = {"frac": frac, "replace": replace, "weights": weights}
        return self._with(Sample(arguments, random_state))

    def sample_to_pdf(
        self,
        frac: float,
        replace: bool = False,
        weights: Any = None,
        random_state: int | None = None,
        axis: int = 0,
    ) -> pd.DataFrame:
        """Return what `sample` takes as one pandas frame."""
        return self.sample(frac, replace, weights, random_state).concat_to_pdf(axis)

    def concat_to_pdf(self, axis: int = 0) -> pd.DataFrame:
        """Return all frames as one pandas frame: one below the other, or side by side."""
        import pandas as pd

        frames = [framed(shard.value, "concat_to_pdf") for shard in self._lazy.collect()]
        if axis != 0:
            return pd.concat(frames, axis=axis)
        return join_rows(frames) if frames else pd.DataFrame()

    def assembleFeatureLabelCols(self, featureCols: Names, labelCols: Names) -> XShards:
        """Make ``{"x": features, "y": labels}`` of frames: arrays with a column for each name.

        Parameters
        ----------
        featureCols, labelCols : str or list of str
            A single name makes an array of one axis.
        """
        return self._with(Assemble(featureCols, labelCols))

    def stack_feature_labels(self) -> XShards:
        """Make a dict of arrays of a partition's rows: each a shard, or in a list that is one."""
        return self._new(self._lazy.stacked())

    def _first(self) -> Any:
        found = self._lazy.first(1)
        if not found:
            raise InvalidInputError("there are no shards\nLook at what was read or selected")
        return found[0].value

    def _first_frame(self, method: str) -> Any:
        first = self._first()
        if not is_pandas(first):
            raise InvalidInputError(
                f"{method} takes shards that are pandas frames; the first one is a "
                f"{type(first).__name__}\nMake frames with transform_shard"
            )
        return first

    def _schema(self) -> pa.Schema:
        """Return the schema of the rows: the first shard's, and others' where that cannot tell."""
        telling = self._lazy.then(FrameSchema(zone_of(self._lazy.spark)))
        first = telling.first(1)
        if not first:
            raise InvalidInputError(
                "there are no shards, so nothing tells the columns\n"
                "Look at what was read or selected"
            )
        schema = _read_schema(first[0].value)
        others: list[pa.Schema] = []
        if any(map(_is_open, schema)):
            others = [_read_schema(shard.value) for shard in telling.collect()]
        return pa.schema([_settled(field, others) for field in schema])

    def _of_rows(self, df: DataFrame) -> XShards:
        return self._new(shards_of(df, OrcaContext.shard_size))

    def _asked(self, action: Callable[[], Any]) -> Any:
        return asked(self._lazy.spark, action)

    @abstractmethod
    def _with(self, function: Function | UsersCall, what: str = "the function") -> XShards:
        """Return these shards with one more function applied to each."""

    @abstractmethod
    def _new(self, shards: LazyShards) -> XShards:
        """Return an XShards of other shards."""


def shards_of(df: DataFrame, shard_size: int | None) -> LazyShards:
    """Return the rows of a DataFrame as shards: frames of a partition's rows, or of so many."""
    return LazyShards(source=df, is_plain=True, shard_size=shard_size)


def _read_schema(data: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(data))


def _is_open(field: pa.Field) -> bool:
    """Whether a column has no values that would tell its type."""
    return field.metadata == WITHOUT_VALUES or _is_unknown(field.type)


def _is_unknown(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_unknown(kind.value_type)
    return bool(pa.types.is_null(kind))


def _settled(field: pa.Field, others: Sequence[pa.Schema]) -> pa.Field:
    """Return a column in the type that the first shard with values in it has.

    Without any such shard it is what pandas has made of it, or a string.
    """
    known = pa.string() if _is_unknown(field.type) else field.type
    if _is_open(field):
        found = (one.field(field.name) for one in others if field.name in one.names)
        told = next((one.type for one in found if not _is_open(one)), known)
        # Numbers of all shards fit into pandas's floats.
        known = known if is_number(known) and is_number(told) else told
    return pa.field(field.name, known)


def _listed(df: DataFrame, names: Names) -> list[str]:
    """Return names as a list, if the DataFrame has all of them."""
    found = [names] if isinstance(names, str) else list(names)
    missing = [name for name in found if name not in df.columns]
    if missing:
        raise ColumnError(
            f"there is no column {missing[0]!r}\n"
            f"The frames have the columns {', '.join(map(repr, df.columns))}"
        )
    return found


def _renamed(df: DataFrame, names: Set[str], ending: str) -> DataFrame:
    return df.toDF(*(f"{name}{ending}" if name in names else name for name in df.columns))


def _joined(df: DataFrame, grouped: DataFrame, names: Sequence[str]) -> DataFrame:
    """Return rows with the aggregates of their group; nulls are a group, too, and find it."""
    others = [name for name in df.columns if name not in names]
    left = df.select(*(F.col(quoted(name)) for name in (*names, *others)))
    # Under our own names: an aggregate may be called as a column is.
    left = left.toDF(*(f"c{place}" for place in range(len(df.columns))))
    right = grouped.toDF(*(f"g{place}" for place in range(len(grouped.columns))))
    keys = [F.col(f"c{place}").eqNullSafe(F.col(f"g{place}")) for place in range(len(names))]
    joined = left.join(right, on=keys, how="left").drop(*right.columns[: len(names)])
    return joined.toDF(*names, *others, *grouped.columns[len(names) :])


def _aggregates(
    df: DataFrame, grouped: Sequence[str], agg: str | Sequence[str] | Mapping[str, Names]
) -> list[Column]:
    if isinstance(agg, Mapping):
        _listed(df, list(agg))
        pairs = [(name, one) for name, given in agg.items() for one in _functions(given)]
        return [_function(one)(quoted(name)) for name, one in pairs]
    found: list[Column] = []
    others = [name for name in df.columns if name not in grouped]
    for one in _functions(agg):
        if one == "count":
            found.append(F.count(F.lit(1)).alias("count"))
        else:
            found += [_function(one)(quoted(name)) for name in others]
    return found


def _functions(given: Names) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _function(name: str) -> Callable[[str], Column]:
    found = getattr(F, name, None) if isinstance(name, str) else None
    if found is None or name.startswith("_"):
        raise InvalidInputError(
            f"agg: Spark has no function {name!r}\n"
            "Name one of pyspark.sql.functions, such as 'sum', 'avg', 'min', 'max' or 'count'"
        )
    return found  # type: ignore[no-any-return]
