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
from typing import Protocol, TypeVar

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


class Meanwhile(Protocol):
    """What this thread does while another one calls Spark; an error of it is an interrupt."""

    def wait(self, seconds: float, /) -> None:
        """Do what there is to do, or wait for it so long."""

    def wake(self) -> None:
        """End a `wait`; called from any thread."""


def interruptible(
    spark: SparkSession, call: Callable[[], _Result], meanwhile: Meanwhile | None = None
) -> _Result:
    """Return what `call` returns; if this thread is interrupted, cancel the jobs of the call.

    They have this thread's properties, such as their description.
    """
    tag = f"orca-{secrets.token_hex(8)}"
    answer: Future[_Result] = Future()
    if meanwhile is not None:
        answer.add_done_callback(lambda done: meanwhile.wake())
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
        while not answer.done():
            if meanwhile is None:
                wait([answer], _TURN)
            else:
                meanwhile.wait(_TURN)
        return answer.result()  # no limit: it is done
    finally:
        if not answer.done():
            _cancel(spark, tag, answer)


class Tagged:
    """Jobs of several threads, which one of them can cancel.

    Parameters
    ----------
    spark : SparkSession
    """

    def __init__(self, spark: SparkSession) -> None:
        self._spark, self._tag = spark, f"orca-{secrets.token_hex(8)}"

    def call(self, call: Callable[[], _Result]) -> Callable[[], _Result]:
        """Return `call` for another thread, whose jobs have this thread's properties."""
        return _inheriting(self._spark, self._tag, call)

    def cancel(self) -> None:
        """Cancel those that run; a thread may be about to start another one."""
        with contextlib.suppress(*spark_errors()):
            _cancel_once(self._spark, self._tag)


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
            if not _cancel_once(spark, tag):
                return
        wait([answer], _TURN)


def _cancel_once(spark: SparkSession, tag: str) -> bool:
    """Cancel the jobs of a tag; return whether the session has not been stopped."""
    if is_connect(spark):
        spark.interruptTag(tag)
    elif spark.sparkContext._jsc is None:
        return False  # and its jobs with it
    elif has_own_properties(spark.sparkContext):
        spark.sparkContext.cancelJobsWithTag(tag)
    else:
        spark.sparkContext.cancelAllJobs()
    return True
