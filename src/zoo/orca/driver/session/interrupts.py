"""Calls of Spark that an interrupt ends: the wait for the job, and the job.

pyspark waits in the read of a socket. Of an interrupt there the user learns nothing at once: in a
notebook pyspark first waits for the end of the job, and on a terminal, where its own handler of
Ctrl-C has cancelled the job, it raises that instead. So another thread calls Spark, and this one
waits where Python can interrupt it.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from pyspark import inheritable_thread_target
from pyspark.sql import SparkSession

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_connect
from zoo.orca.driver.session.properties import has_own_properties

_Result = TypeVar("_Result")

#: Seconds within which a cancelled job is over for the driver.
_ENDS_WITHIN = 10.0
#: Seconds until the waiting thread looks up.
_TURN = 0.2


def interruptible(spark: SparkSession, call: Callable[[], _Result]) -> _Result:
    """Return what `call` returns; if this thread is interrupted, cancel the jobs of the call.

    They have this thread's properties, such as their description.
    """
    tag = f"orca-{secrets.token_hex(8)}"
    answer: Future[_Result] = Future()
    tagged = _inheriting(spark, tag, call)

    def run() -> None:
        try:
            answer.set_result(tagged())
        except BaseException as error:  # raised again in the thread that waits
            answer.set_exception(error)

    # A daemon: after a second interrupt nobody waits for it, the program's end neither.
    threading.Thread(target=run, name=tag, daemon=True).start()
    try:
        # In turns: an interrupt that is no signal of the system ends no wait by itself.
        while not wait([answer], _TURN).done:
            pass
        return answer.result()  # no limit: it is done
    finally:
        if not answer.done():
            _cancel(spark, tag, answer)


def _inheriting(
    spark: SparkSession, tag: str, call: Callable[[], _Result]
) -> Callable[[], _Result]:
    """Return `call` for another thread, whose jobs have a tag and this thread's properties."""

    def tagged() -> _Result:
        # A classic session knows tags, too, but gives them to none of the jobs that return Arrow.
        if is_connect(spark):
            spark.addTag(tag)
        elif has_own_properties(spark.sparkContext):
            spark.sparkContext.addJobTag(tag)
        return call()

    inherited: Callable[[], _Result] = inheritable_thread_target(spark)(tagged)
    return inherited


def _cancel(spark: SparkSession, tag: str, answer: "Future[_Result]") -> None:
    """Cancel again and again: the call may be just before its job."""
    deadline = time.monotonic() + _ENDS_WITHIN
    while not answer.done() and time.monotonic() < deadline:
        # The interrupt is what the user must see.
        with contextlib.suppress(*spark_errors()):
            if is_connect(spark):
                spark.interruptTag(tag)
            elif spark.sparkContext._jsc is None:
                return  # stopped, and its jobs with it
            elif has_own_properties(spark.sparkContext):
                spark.sparkContext.cancelJobsWithTag(tag)
            else:
                spark.sparkContext.cancelAllJobs()
        wait([answer], _TURN)
