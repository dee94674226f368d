"""Transformers that look at all rows of an XShards of pandas frames, and then change each row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from zoo.orca.data.shard.lazy import asked
from zoo.orca.data.shard.xshards import XShards
from zoo.orca.errors import ColumnError, DataError, InvalidInputError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.shards.packed import is_pandas
from zoo.orca.wire.shards.shared import SharedValue
from zoo.orca.worker.shards.scaling import Numbered, Scaled

Names = str | Sequence[str]


class StringIndex:
    """Numbers of the values of one column, from 1.

    Parameters
    ----------
    df : XShards, Spark DataFrame or pandas DataFrame
        Has the column, and a column ``id`` of the numbers.
    col_name : str
    """

    def __init__(self, df: Any, col_name: str) -> None:
        rows = _as_pandas(df)
        missing = [name for name in (col_name, "id") if name not in rows.columns]
        if missing:
            raise ColumnError(
                f"there is no column {missing[0]!r}\n"
                f"A StringIndex is made of the columns {col_name!r} and 'id'"
            )
        self.col_name = col_name
        self._numbers = {
            value: int(number) for value, number in zip(rows[col_name], rows["id"], strict=True)
        }

    @classmethod
    def from_dict(cls, indices: Mapping[Any, int], col_name: str) -> "StringIndex":
        """Return the index that a dict of values to numbers is."""
        if not isinstance(indices, Mapping):
            raise InvalidInputError(
                f"indices is a {type(indices).__name__}, not a dict\nWrite {{'value': 1}}"
            )
        import pandas as pd

        pairs = {col_name: list(indices), "id": list(indices.values())}
        return cls(pd.DataFrame(pairs), col_name)

    def to_dict(self) -> dict[Any, int]:
        """Return the numbers by their values."""
        return dict(self._numbers)


class StringIndexer:
    """Replaces the values of a column by numbers from 1: the most frequent value is 1.

    Parameters
    ----------
    inputCol : str
    """

    def __init__(self, inputCol: str) -> None:
        self._column = inputCol
        self._index: StringIndex | None = None
        self._shared: SharedValue | None = None

    @property
    def index(self) -> StringIndex:
        """What `fit_transform` has found."""
        if self._index is None:
            raise _not_fitted("StringIndexer")
        return self._index

    def fit_transform(self, shard: XShards) -> XShards:
        """Find the values of these rows, and replace them; equally frequent ones by order."""
        df = _table(shard)
        _check(df, [self._column])
        name = quoted(self._column)
        counts = df.where(F.col(name).isNotNull()).groupBy(name).count()
        ordered = counts.orderBy(F.desc("count"), name).select(name)
        rows = asked(df.sparkSession, ordered.collect)
        numbers = {row[0]: number for number, row in enumerate(rows, 1)}
        self._index = StringIndex.from_dict(numbers, self._column)
        self._shared = SharedValue(numbers)
        return self.transform(shard)

    def transform(self, shard: XShards) -> XShards:
        """Replace values by the numbers that are known; any other becomes missing."""
        if self._shared is None:
            raise _not_fitted("StringIndexer")
        return shard._with(Numbered(self._column, self._shared))


class MinMaxScaler:
    """Scales columns so that their smallest value is `min` and their largest is `max`.

    A column of one value alone becomes the middle.

    Parameters
    ----------
    min, max : float
    inputCol : str or list of str
        Several columns become one of arrays.
    outputCol : str, optional
        The new column; a single column is replaced by default.
    """

    def __init__(
        self,
        min: float = 0.0,
        max: float = 1.0,
        inputCol: Names | None = None,
        outputCol: str | None = None,
    ) -> None:
        if not min < max:
            raise InvalidInputError(f"min={min} is not below max={max}\nGive min the smaller one")
        self._min, self._max = min, max
        self._scaling = _Scaling("MinMaxScaler", inputCol, outputCol)

    def fit_transform(self, shard: XShards) -> XShards:
        """Look at these rows, and scale them."""
        low, high = self._scaling.told(shard, F.min, F.max)
        scale, base = [], []
        for least, most in zip(low, high, strict=True):
            is_one = least == most
            scale.append(0.0 if is_one else (self._max - self._min) / (most - least))
            base.append((self._min + self._max) / 2 if is_one else self._min)
        self._scaling.fit(low, scale, base)
        return self.transform(shard)

    def transform(self, shard: XShards) -> XShards:
        """Scale rows by what `fit_transform` has found."""
        return self._scaling.apply(shard)


class StandardScaler:
    """Scales columns by their standard deviation, of a sample.

    A column of one value alone becomes 0.

    Parameters
    ----------
    withMean : bool
        Whether the mean becomes 0.
    withStd : bool
        Whether the standard deviation becomes 1.
    inputCol, outputCol : str or list of str
        As those of `MinMaxScaler`.
    """

    def __init__(
        self,
        withMean: bool = False,
        withStd: bool = True,
        inputCol: Names | None = None,
        outputCol: str | None = None,
    ) -> None:
        self._with_mean, self._with_std = withMean, withStd
        self._scaling = _Scaling("StandardScaler", inputCol, outputCol)

    def fit_transform(self, shard: XShards) -> XShards:
        """Look at these rows, and scale them."""
        mean, deviation = self._scaling.told(shard, F.mean, F.stddev_samp)
        shift = mean if self._with_mean else [0.0] * len(mean)
        scale = [1.0] * len(mean)
        if self._with_std:
            scale = [1 / one if one else 0.0 for one in deviation]
        self._scaling.fit(shift, scale, [0.0] * len(mean))
        return self.transform(shard)

    def transform(self, shard: XShards) -> XShards:
        """Scale rows by what `fit_transform` has found."""
        return self._scaling.apply(shard)


class _Scaling:
    """The columns of a scaler, and how they are scaled."""

    def __init__(self, kind: str, columns: Names | None, output: str | None) -> None:
        if not columns:
            raise InvalidInputError(
                f"{kind} needs inputCol: the columns to scale\nWrite inputCol='column'"
            )
        self._kind, self._is_single = kind, isinstance(columns, str)
        self._columns = [columns] if isinstance(columns, str) else list(columns)
        if output is None and not self._is_single:
            raise InvalidInputError(
                f"{kind} makes one column of several, which needs a name\nWrite outputCol='scaled'"
            )
        self._output = output or self._columns[0]
        self._step: Scaled | None = None

    def told(self, shard: XShards, *aggregates: Callable[..., Any]) -> list[list[float]]:
        """Return what Spark's aggregates say of each column; missing values do not count."""
        df = _table(shard)
        _check(df, self._columns)
        asks = [one(quoted(name)) for one in aggregates for name in self._columns]
        row = asked(df.sparkSession, df.agg(*asks).collect)[0]
        count = len(self._columns)
        found = [row[place * count : (place + 1) * count] for place in range(len(aggregates))]
        for name, value in zip(self._columns, found[0], strict=True):
            if not isinstance(value, (int, float)):
                raise DataError(
                    f"column {name!r} has no numbers to scale by: {value!r}\n"
                    "Name columns of numbers, with some rows in them"
                )
        return [[float(one or 0) for one in part] for part in found]

    def fit(self, shift: list[float], scale: list[float], base: list[float]) -> None:
        """Note how the columns are scaled."""
        self._step = Scaled(
            columns=self._columns,
            shift=shift,
            scale=scale,
            base=base,
            output=self._output,
            is_single=self._is_single,
        )

    def apply(self, shard: XShards) -> XShards:
        """Scale rows."""
        if self._step is None:
            raise _not_fitted(self._kind)
        return shard._with(self._step)


def _table(shard: Any) -> DataFrame:
    if not isinstance(shard, XShards):
        raise InvalidInputError(
            f"a transformer takes an XShards of pandas frames, got a {type(shard).__name__}\n"
            "Make one of it with XShards.partition"
        )
    return shard.to_spark_df()


def _check(df: DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in df.columns]
    if missing:
        raise ColumnError(
            f"inputCol: there is no column {missing[0]!r}\n"
            f"The frames have the columns {', '.join(map(repr, df.columns))}"
        )


def _as_pandas(df: Any) -> Any:
    if is_pandas(df):
        return df
    if isinstance(df, XShards):
        return df.concat_to_pdf()
    if isinstance(df, DataFrame):
        return asked(df.sparkSession, df.toPandas)
    raise InvalidInputError(
        f"df is a {type(df).__name__}, not a frame\nPass a DataFrame, or StringIndex.from_dict"
    )


def _not_fitted(kind: str) -> InvalidInputError:
    return InvalidInputError(
        f"the {kind} has seen no rows yet\nCall fit_transform before transform"
    )
