"""Arrow batches on their way to the workers: without a limit where none can be reached.

Spark ends an Arrow batch after ``spark.sql.execution.arrow.maxRecordsPerBatch`` rows or
``maxBytesPerBatch`` bytes, whichever comes first. To know the bytes it adds up all columns' buffers
after every row, which takes longer than to write a row of a few numbers. Where the rows are numbers
alone, so many of them never come to so many bytes, and Spark need not look.

The session's setting is everybody's: whoever changed it for one stage would change it for all other
queries of the session that run meanwhile, and two who change it at once give back each other's
values. A session of Orca's own would not do either: a DataFrame belongs to the one it was made in.
But a task reads this setting from the properties of its job, where Spark puts what the session has
set and leaves alone what is there besides. Those properties are the thread's that starts the job,
and no other query sees them. What the user has set comes after them, and so stays.

Spark Connect has no such properties: there the limit stays, and rows come more slowly.
"""

import contextlib
from collections.abc import Iterator

from py4j.clientserver import ClientServer
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.session.settings import read_bytes_setting

_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
#: What Spark takes for no limit, and the only value with which it does not count.
_NO_LIMIT = str((1 << 31) - 1)
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
def uncounted_batches(frame: DataFrame) -> Iterator[None]:
    """Lift the limit on a batch's bytes for this thread's jobs, if rows of `frame` cannot reach it.

    The jobs have to be over when the block ends.
    """
    context = _context_with_properties(frame)
    if context is None or not _is_out_of_reach(frame) or _runs_python(frame, context):
        yield
        return
    before = context.getLocalProperty(_BYTES)
    context.setLocalProperty(_BYTES, _NO_LIMIT)
    try:
        yield
    finally:
        # The session may have been stopped meanwhile; then there is nothing to give back.
        if context._jsc is not None:
            with contextlib.suppress(*spark_errors()):
                context.setLocalProperty(_BYTES, before)  # type: ignore[arg-type]


def _context_with_properties(frame: DataFrame) -> SparkContext | None:
    """Return the context whose properties are each thread's own, if there is one."""
    if is_connect(frame.sparkSession):
        return None
    context = frame.sparkSession.sparkContext
    # Without PYSPARK_PIN_THREAD a thread of Python's has none of the JVM's to itself.
    return context if isinstance(context._gateway, ClientServer) else None


def _is_out_of_reach(frame: DataFrame) -> bool:
    """Whether a batch of as many rows as there may be has fewer bytes than its limit."""
    conf = frame.sparkSession.conf
    try:
        # With a default of ours, Spark would not tell its own.
        limit = conf.get(_BYTES) or _NO_LIMIT
    except PySparkException:  # a Spark that does not know it, and does not count
        return False
    widths = [_WIDTHS.get(type(field.dataType)) for field in frame.schema.fields]
    rows = int(conf.get(_ROWS) or 0)
    if rows <= 0 or None in widths:
        return False
    # A byte more for each value: bits that mark nulls, and the buffers' rounding.
    needed = rows * sum(width + 1 for width in widths if width is not None)
    return needed < read_bytes_setting(_BYTES, limit)


def _runs_python(frame: DataFrame, context: SparkContext) -> bool:
    """Whether a Python function of the user's makes the rows: the limit is there for its batches.

    It runs in the same job, and its rows may be of any width.
    """
    patterns = context._jvm.org.apache.spark.sql.catalyst.trees.TreePattern  # type: ignore[union-attr]
    plan = frame._jdf.queryExecution().withCachedData()
    return bool(plan.containsPattern(patterns.PYTHON_UDF()))
