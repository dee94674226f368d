"""Sessions that ended in another way than `stop_orca_context`: pyspark offers them still.

A session that another thread is stopping, a JVM that was killed, a start that was interrupted.
"""

from __future__ import annotations

import time
from typing import Any

from zoo.orca.context.java import end

#: Seconds that pyspark may take to stop a context whose JVM has stopped already.
_STOPS_WITHIN = 10.0


def await_stop() -> None:
    """Wait while another thread is in the middle of stopping the context."""
    deadline = time.monotonic() + _STOPS_WITHIN
    while time.monotonic() < deadline:
        context = running_context()
        if context is None or context._jsc is not None:
            return
        time.sleep(0.05)


def running_context() -> Any:
    """Return the context of this process, which has one at most; None over Spark Connect."""
    try:
        from pyspark import SparkContext
    except ImportError:  # pyspark-client has Spark Connect alone
        return None
    return SparkContext._active_spark_context


def lost_jvm() -> tuple[type[Exception], ...]:
    """Return what pyspark raises if the JVM is gone."""
    try:
        from py4j.protocol import Py4JNetworkError
    except ImportError:  # there has never been one
        return (ConnectionError,)

    return Py4JNetworkError, ConnectionError


def forget_jvm() -> None:
    """Let pyspark start another JVM: this one is gone."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkContext._active_spark_context = None
    SparkContext._gateway = SparkContext._jvm = None
    SparkSession._instantiatedSession = SparkSession._activeSession = None


def abandon(gateway: Any) -> None:
    """End a JVM in the middle of Spark's start, which would stand in the way of the next one."""
    from pyspark import SparkContext

    if SparkContext._active_spark_context is not None:
        SparkContext._active_spark_context.stop()
    forget_jvm()
    gateway.shutdown()
    end(gateway.proc)
