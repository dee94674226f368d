"""Arrow batches on their way to the workers: without a limit where none can be reached.

Spark ends an Arrow batch after ``spark.sql.execution.arrow.maxRecordsPerBatch`` rows or
``maxBytesPerBatch`` bytes, whichever comes first. To know the bytes it adds up all columns' buffers
after every row, which takes longer than to write a row of a few numbers. Where the rows are numbers
alone, so many of them never come to so many bytes, and Spark need not look.
"""

import contextlib
import threading
from collections.abc import Iterator

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from zoo.orca.driver.settings import read_bytes_setting
from zoo.orca.driver.spark_failures import spark_errors

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


class Restore:
    """Gives the session its setting back; may be called by any thread, any number of times."""

    def __init__(self, frame: DataFrame, limit: str | None) -> None:
        self._conf = frame.sparkSession.conf
        self._limit = limit
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Give it back now."""
        with self._lock:
            limit, self._limit = self._limit, None
        if limit is not None:
            # The session may have been stopped meanwhile; then there is nobody to give it back to.
            with contextlib.suppress(*spark_errors()):
                self._conf.set(_BYTES, limit)


@contextlib.contextmanager
def uncounted_batches(frame: DataFrame) -> Iterator[Restore]:
    """Lift the limit on a batch's bytes inside, if rows of `frame` cannot reach it.

    Spark reads the setting when a job starts. What is yielded ends the exception for this session
    as soon as the tasks run, so that a query of another thread finds its limit again.
    """
    restore = Restore(frame, _lift(frame))
    try:
        yield restore
    finally:
        restore()


def _lift(frame: DataFrame) -> str | None:
    """Lift the limit; return what it was, or None where it stays."""
    conf = frame.sparkSession.conf
    try:
        # With a default of ours, Spark would not tell its own.
        limit = conf.get(_BYTES) or _NO_LIMIT
    except PySparkException:  # a Spark that does not know it, and does not count
        return None
    # Another stage of this session may have lifted it; then that one gives it back.
    if limit == _NO_LIMIT or not _is_out_of_reach(frame, read_bytes_setting(_BYTES, limit)):
        return None
    try:
        conf.set(_BYTES, _NO_LIMIT)
    except PySparkException:  # a platform that lets nobody set it; rows only come more slowly
        return None
    return limit


def _is_out_of_reach(frame: DataFrame, limit: int) -> bool:
    """Whether a batch of as many rows as there may be has fewer bytes than `limit`."""
    widths = [_WIDTHS.get(type(field.dataType)) for field in frame.schema.fields]
    rows = int(frame.sparkSession.conf.get(_ROWS) or 0)
    if rows <= 0 or None in widths:
        return False
    # A byte more for each value: bits that mark nulls, and the buffers' rounding.
    return rows * sum(width + 1 for width in widths if width is not None) < limit
