"""Properties of a thread's jobs, and settings of a session: set for a block, then put back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from zoo.orca.driver.reports.spark_failures import spark_errors

if TYPE_CHECKING:  # a Python that has Spark Connect alone has no contexts
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

#: Two threads that set one setting at once would put each other's value back.
_settings = threading.Lock()


def has_own_properties(context: SparkContext) -> bool:
    """Whether each Python thread has properties of its own.

    Without PYSPARK_PIN_THREAD, Python threads share the JVM's threads.
    """
    from py4j.clientserver import ClientServer

    return isinstance(context._gateway, ClientServer)


@contextlib.contextmanager
def local_property(context: SparkContext, key: str, value: str) -> Iterator[None]:
    """Set a property of the jobs that this thread starts in the block; put the user's back."""
    before = context.getLocalProperty(key)
    context.setLocalProperty(key, value)
    try:
        yield
    finally:
        # The session may have been stopped meanwhile; then there is nothing to put back, and the
        # user must see that error.
        if context._jsc is not None:
            with contextlib.suppress(*spark_errors()):
                context.setLocalProperty(key, before)  # type: ignore[arg-type]


@contextlib.contextmanager
def session_setting(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    """Set a setting of the session while the block runs; put the user's back, or none.

    All threads of the session see it. So it must be one that changes no query's result, and the
    block must be short.
    """
    # no limit: who holds it waits for Spark's answers alone
    _settings.acquire()
    try:
        before = spark.conf.get(key, None)
        spark.conf.set(key, value)
        try:
            yield
        finally:
            with contextlib.suppress(*spark_errors()):  # as above
                if before is None:
                    spark.conf.unset(key)
                else:
                    spark.conf.set(key, before)
    finally:
        _settings.release()
