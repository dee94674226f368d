"""Arrow batches on their way to the workers: no limit in bytes if it is out of reach, or a low one.

Spark ends an Arrow batch after ``spark.sql.execution.arrow.maxRecordsPerBatch`` rows or
``maxBytesPerBatch`` bytes, whichever comes first. To count the bytes, it adds up all columns'
buffers after every row. That takes longer than writing a row of a few numbers. If the columns are
all numbers, a full batch of rows cannot reach the limit, and Spark need not count.

Where it must count, its own limit of 64 MB is high: while one batch is written and sent, nothing
reads, and each batch takes new memory of the system on both sides. Batches of `_FEW_BYTES` are
written while others are read, from memory that is used again.

The session's setting must not change. All other queries of the session would see the change, and
two threads that change it at once would restore each other's values. A second session does not
help, because a DataFrame belongs to the session that made it. But a task reads this setting from
its job's properties. Spark copies the session's explicit settings there and leaves other properties
alone. A job's properties belong to the thread that starts it, so no other query sees them. A value
that the user has set in the session overrides them.

Spark Connect has no such properties: there Spark's limit stays, and rows come more slowly.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.session.properties import has_own_properties, local_property
from zoo.orca.driver.session.settings import read_bytes_setting

if TYPE_CHECKING:
    from pyspark import SparkContext

_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
#: Spark takes this value for no limit. With any other it counts.
_NO_LIMIT = str((1 << 31) - 1)
#: As many as the workers write at once (`zoo.orca.worker.rows.spool.BLOCK_BYTES`).
_FEW_BYTES = 4 << 20
_WIDTHS: dict[type[T.DataType], int] = {
    T.BooleanType: 1,
    T.ByteType: 1,
    T.ShortType: 2,
    T.IntegerType: 4,
    T.LongType: 8,
    T.FloatType: 4,
    T.DoubleType: 8,
}


@contextlib.contextmanager
def quick_batches(frame: DataFrame) -> Iterator[None]:
    """Set the limit on a batch's bytes for this thread's jobs: none if `frame` cannot reach it.

    The jobs must end before the block does.
    """
    context = _context_with_properties(frame)
    limit = None if context is None else _quick_limit(frame)
    if context is None or limit is None or _runs_python(frame, context):
        yield
        return
    with local_property(context, _BYTES, limit):
        yield


def _context_with_properties(frame: DataFrame) -> SparkContext | None:
    """Return the context, if its properties are per thread; else None."""
    if is_connect(frame.sparkSession):
        return None
    context = frame.sparkSession.sparkContext
    return context if has_own_properties(context) else None


def _quick_limit(frame: DataFrame) -> str | None:
    """Return the limit with which rows come soonest; None for Spark's own."""
    conf = frame.sparkSession.conf
    try:
        # No default here: it would hide Spark's own.
        limit = read_bytes_setting(_BYTES, conf.get(_BYTES) or _NO_LIMIT)
    except PySparkException:  # a Spark without this setting, which does not count
        return None
    if _most_bytes(frame, int(conf.get(_ROWS) or 0)) < limit:
        return _NO_LIMIT
    return str(_FEW_BYTES) if _FEW_BYTES < limit else None


def _most_bytes(frame: DataFrame, rows: int) -> float:
    """Return what a batch of so many rows may come to; no `rows` are any number."""
    widths = [_WIDTHS.get(type(field.dataType)) for field in frame.schema.fields]
    if rows <= 0 or None in widths:
        return math.inf
    # One more byte per value, for the null bits and the buffers' rounding.
    return rows * sum(width + 1 for width in widths if width is not None)


def _runs_python(frame: DataFrame, context: SparkContext) -> bool:
    """Whether a Python function of the user makes the rows.

    It runs in the same job and its rows may be of any width, so its batches need the limit.
    """
    patterns = context._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # type: ignore[union-attr]
    plan = frame._jdf.queryExecution().withCachedData()
    return bool(plan.containsPattern(patterns.PYTHON_UDF()))
