"""Files as an XShards of pandas frames, read by Spark or by pandas on the executors.

``OrcaContext.pandas_read_backend`` chooses. Spark cuts large files, and knows the arguments that
are named here; pandas reads each file as a whole, and knows all of its own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.pandas.csv import csv_by_spark
from zoo.orca.data.pandas.paths import found_files, from_here, read_by
from zoo.orca.data.shard.lazy import LazyShards, local_shards
from zoo.orca.data.shard.tables import shards_of
from zoo.orca.data.shard.xshards import XShards, made
from zoo.orca.driver.frame.partitions import known_partitions
from zoo.orca.driver.session.cluster import nodes, slots
from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.wire.features import quoted
from zoo.orca.worker.shards.files import ReadFiles

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

Paths = str | Sequence[str]
_ITERATORS = ("chunksize", "iterator")


def read_csv(file_path: Paths, **kwargs: Any) -> XShards:
    """Read CSV files into an XShards of pandas frames.

    Parameters
    ----------
    file_path : str or list of str
        Files or directories, by path or URL.
    **kwargs
        Arguments of `pandas.read_csv`. Spark's backend takes ``sep`` (or ``delimiter``),
        ``header``, ``names``, ``usecols``, ``dtype``, ``index_col``, ``quotechar``,
        ``escapechar``, ``comment``, ``squeeze``; pandas's backend takes all.

    Returns
    -------
    XShards
        A frame for each partition that Spark makes of the files, or for each group of files.

    Raises
    ------
    InvalidInputError
        If the backend does not know an argument, or there is no file.
    """
    if _is_pandas():
        return _by_pandas("read_csv", file_path, kwargs)
    return _with_nodes(csv_by_spark(found_files(file_path), kwargs))


def read_json(file_path: Paths, **kwargs: Any) -> XShards:
    """Read JSON files into an XShards of pandas frames.

    Parameters
    ----------
    file_path : str or list of str
        Files or directories, by path or URL.
    **kwargs
        Arguments of `pandas.read_json`. Spark's backend takes ``lines`` and
        ``orient="records"``, and sorts the columns by name; pandas's backend takes all.

    Returns
    -------
    XShards

    Raises
    ------
    InvalidInputError
        As `read_csv`.
    """
    if _is_pandas():
        return _by_pandas("read_json", file_path, kwargs)
    lines, orient = kwargs.pop("lines", False), kwargs.pop("orient", "records")
    if kwargs or orient != "records":
        raise unknown_argument("read_json", next(iter(kwargs), "orient"), ("lines", "orient"))
    paths, spark = found_files(file_path), OrcaContext.get_spark_session()
    df = read_by(spark, paths, lambda found: spark.read.json(found, multiLine=not lines))
    return _with_nodes(shards_of(df, OrcaContext.shard_size))


def read_parquet(
    file_path: Paths,
    columns: Sequence[str] | None = None,
    schema: "StructType | None" = None,
    **options: Any,
) -> XShards:
    """Read Parquet files into an XShards of pandas frames.

    Parameters
    ----------
    file_path : str or list of str
        Files or directories, by path or URL.
    columns : list of str, optional
        Columns to read, in this order; by default all.
    schema : StructType, optional
        Spark's schema of the files, if it shall not be read from them.
    **options
        Options of Spark's reader; with pandas's backend, arguments of `pandas.read_parquet`.

    Returns
    -------
    XShards
    """
    if _is_pandas():
        if schema is not None:
            raise InvalidInputError(
                "schema is Spark's, and pandas reads the files\n"
                "Leave it out, or set OrcaContext.pandas_read_backend = 'spark'"
            )
        named = {} if columns is None else {"columns": list(columns)}
        return _by_pandas("read_parquet", file_path, {**options, **named})
    paths, spark = found_files(file_path), OrcaContext.get_spark_session()
    reader = spark.read.options(**options)
    if schema is not None:
        reader = reader.schema(schema)
    df = read_by(spark, paths, lambda found: reader.parquet(*found))
    return _with_nodes(shards_of(_selected(df, columns), OrcaContext.shard_size))


def _selected(df: "DataFrame", columns: Sequence[str] | None) -> "DataFrame":
    if columns is None:
        return df
    missing = [name for name in columns if name not in df.columns]
    if missing:
        raise ColumnError(
            f"columns: there is no column {missing[0]!r}\n"
            f"The files have the columns {', '.join(map(repr, df.columns))}"
        )
    return df.select(*map(quoted, columns))


def unknown_argument(function: str, name: str, known: Sequence[str]) -> InvalidInputError:
    """Return the error for an argument of pandas that Spark's reader does not know."""
    return InvalidInputError(
        f"{function} by Spark does not know this {name}; it takes {', '.join(known)}\n"
        "Leave it out, or let pandas read: OrcaContext.pandas_read_backend = 'pandas'"
    )


def _is_pandas() -> bool:
    return bool(OrcaContext.pandas_read_backend == "pandas")


def _by_pandas(function: str, file_path: Paths, arguments: dict[str, Any]) -> XShards:
    """Return shards of files that pandas reads, each a group of whole files."""
    asked_for = [name for name in _ITERATORS if arguments.get(name)]
    if asked_for:
        raise InvalidInputError(
            f"{asked_for[0]} makes an iterator, and shards are frames\n"
            "Leave it out: files are read one after another as it is"
        )
    spark = OrcaContext.get_spark_session()
    files = from_here(spark, found_files(file_path, inside=True))
    count = min(len(files), slots(spark) or 2)
    each, more = divmod(len(files), count)
    edges = [place * each + min(place, more) for place in range(count + 1)]
    groups = [files[low:high] for low, high in zip(edges, edges[1:], strict=False)]
    read = ReadFiles(function=function, arguments=arguments)
    return made(local_shards(spark, groups).then(read, "kwargs"))


def _with_nodes(shards: LazyShards) -> XShards:
    """Return shards for every node at least: a small file would keep one of them busy alone."""
    there, wanted = known_partitions(shards.source), nodes(shards.spark)
    if there is not None and there < wanted and shards.shard_size is None:
        return XShards(shards).repartition(wanted)
    return made(shards)
