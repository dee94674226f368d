"""CSV files read by Spark, with pandas's arguments and into the types that pandas would make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import types as T

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.pandas.csv_types import breaks_lines, typed, without_missing
from zoo.orca.data.pandas.paths import read_by
from zoo.orca.data.shard.lazy import LazyShards, asked
from zoo.orca.data.shard.tables import shards_of
from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.worker.shards.files import Finish


@dataclass(kw_only=True)
class CsvArguments:
    """pandas's arguments that Spark's reader can follow.

    Parameters
    ----------
    sep, delimiter : str or None
    header : int, "infer" or None
    names, usecols, dtype, index_col : optional
    quotechar, escapechar, comment : str or None
    squeeze, parse_dates : bool
    """

    sep: str | None = None
    delimiter: str | None = None
    header: Any = "infer"
    names: Sequence[Any] | None = None
    usecols: Sequence[Any] | Callable[[Any], bool] | None = None
    dtype: Any = None
    index_col: Any = None
    quotechar: str = '"'
    escapechar: str | None = None
    comment: str | None = None
    squeeze: bool = False
    parse_dates: bool = False

    def check(self) -> None:
        """Refuse values that only pandas can follow.

        Raises
        ------
        InvalidInputError
        """
        if self.header not in ("infer", 0, None) or isinstance(self.header, bool):
            raise _only_pandas(f"header={self.header!r}: it takes 0 or None")
        if self.parse_dates:
            raise _only_pandas(f"parse_dates={self.parse_dates!r}: texts stay texts")
        for name, value in (("sep", self.separator), ("quotechar", self.quotechar)):
            if not isinstance(value, str) or len(value) != 1:
                raise _only_pandas(f"{name}={value!r}: it takes one character")

    @property
    def separator(self) -> str:
        """The character between values."""
        return self.sep or self.delimiter or ","

    @property
    def has_header(self) -> bool:
        """Whether the first line names the columns, or is to be left out."""
        return self.header == 0 or (self.header == "infer" and self.names is None)

    def options(self) -> dict[str, Any]:
        """Return the options of Spark's reader."""
        return {
            "sep": self.separator,
            "header": self.has_header,
            "quote": self.quotechar,
            # In pandas's files a quote within quotes is doubled, unless it is told otherwise.
            "escape": self.escapechar or self.quotechar,
            "comment": self.comment,
        }


def csv_by_spark(paths: list[str], given: Mapping[str, Any]) -> LazyShards:
    """Return the frames that Spark reads, a partition each.

    Raises
    ------
    InvalidInputError
        If Spark's reader does not know an argument.
    ColumnError
        If an argument names a column that is not there.
    """
    known = list(CsvArguments.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise _only_pandas(f"{name}; it takes {', '.join(known)}")
    arguments = CsvArguments(**given)
    arguments.check()
    spark = OrcaContext.get_spark_session()
    options = arguments.options()
    options["multiLine"] = breaks_lines(spark, paths, arguments.quotechar)
    header = _header(spark, paths, options)
    names = _names(header, arguments)
    dtypes = _dtypes(names, arguments.dtype)
    reader = partial(
        spark.read.csv,
        # By the header's names: with others, Spark warns of each file.
        schema=T.StructType([T.StructField(name, T.StringType()) for name in header]),
        enforceSchema=True,
        **options,
    )
    own = {name: f"c{place}" for place, name in enumerate(names)}
    df = without_missing(read_by(spark, paths, reader).toDF(*own.values()))
    index = _index(names, arguments.index_col)
    used = _used(names, arguments.usecols, index)
    df = df.select(*(own[name] for name in used))
    df = asked(spark, lambda: typed(df, [own[name] for name in used if name not in dtypes]))
    finish = Finish(
        names=used,
        dtypes={name: dtype for name, dtype in dtypes.items() if name in used},
        index=index,
        squeeze=arguments.squeeze,
    )
    return shards_of(df, OrcaContext.shard_size).then(finish)


def _header(spark: SparkSession, paths: list[str], options: Mapping[str, Any]) -> list[str]:
    """Return Spark's names of the columns."""
    header: list[str] = read_by(
        spark, paths, lambda given: spark.read.csv(given, **options).columns
    )
    if not header:
        raise InvalidInputError(
            f"there are no columns in {', '.join(paths)}\nName files that are not empty"
        )
    return header


def _names(header: Sequence[str], arguments: CsvArguments) -> list[Any]:
    """Return pandas's names of the columns."""
    there = len(header)
    if arguments.names is not None:
        names = list(arguments.names)
        if len(names) != there:
            raise ColumnError(
                f"names has {len(names)} names, and the files have {there} columns\n"
                "Give each column a name"
            )
    elif arguments.has_header:
        names = list(header)
    else:
        names = list(range(there))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ColumnError(
            f"two columns have the name {twice[0]!r}\nGive them others with names=[...], header=0"
        )
    return names


def _dtypes(names: Sequence[Any], dtype: Any) -> dict[Any, Any]:
    if dtype is None:
        return {}
    if not isinstance(dtype, Mapping):
        return dict.fromkeys(names, dtype)
    return {_named(names, name, "dtype"): one for name, one in dtype.items()}


def _index(names: Sequence[Any], index_col: Any) -> list[Any]:
    if index_col is None or index_col is False:
        return []
    given = index_col if isinstance(index_col, (list, tuple)) else [index_col]
    return [_named(names, name, "index_col") for name in given]


def _used(names: list[Any], usecols: Any, index: list[Any]) -> list[Any]:
    """Return the columns to read, in the order that they have in the files."""
    if usecols is None:
        return names
    if callable(usecols):
        used = [name for name in names if usecols(name)]
    else:
        wanted = {_named(names, name, "usecols") for name in usecols}
        used = [name for name in names if name in wanted]
    missing = [name for name in index if name not in used]
    if missing or not used:
        what = f"{missing[0]!r}, which index_col names" if missing else "every column"
        raise ColumnError(f"usecols leaves out {what}\nName it in usecols, too")
    return used


def _named(names: Sequence[Any], name: Any, argument: str) -> Any:
    """Return the column that a name, or a position, means."""
    if name in names:
        return name
    if isinstance(name, int) and not isinstance(name, bool) and -len(names) <= name < len(names):
        return names[name]
    raise ColumnError(
        f"{argument}: there is no column {name!r}\n"
        f"The files have the columns {', '.join(map(repr, names))}"
    )


def _only_pandas(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"read_csv by Spark does not know {what}\n"
        "Leave it out, or let pandas read: OrcaContext.pandas_read_backend = 'pandas'"
    )
