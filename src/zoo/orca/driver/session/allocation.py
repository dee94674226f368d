"""Dynamic allocation, under which Spark starts no barrier stage, and when one can run all the same.

Spark's scheduler refuses every barrier stage while ``spark.dynamicAllocation.enabled`` is true
outside of local mode, however many executors there are, ``minExecutors`` notwithstanding. The
reason is that executors which wait for the others would be released as idle. Those that
``minExecutors`` keeps never are. So where they have slots for all workers, Spark's check is
answered with no for as long as the stage runs. The allocation itself was set up when the session
started and goes on.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import (
    allocates_dynamically,
    is_connect,
    kept_executors,
    slots_of_executor,
)
from zoo.orca.errors import ContextError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ENABLED = "spark.dynamicAllocation.enabled"
#: Stages that run now, for each context, by the identity of its settings.
_stages: Counter[int] = Counter()
_counting = threading.Lock()


def check_allocation(spark: SparkSession, workers: int) -> None:
    """Check that executors which come and go do not keep a barrier stage from starting.

    Raises
    ------
    ContextError
        Names the settings that let it start.
    """
    if not allocates_dynamically(spark):
        return
    if has_kept_slots(spark, workers):
        return
    kept = kept_executors(spark)
    needed = -(-workers // slots_of_executor(spark))
    start = "the Spark Connect server" if is_connect(spark) else "the session"
    # What runs on a server cannot be told anything from here.
    other = (
        ""
        if is_connect(spark)
        else f"; or with spark.dynamicAllocation.minExecutors={needed}, which always stay"
        + (f" (now {kept})" if kept else "")
    )
    raise ContextError(
        f"Spark starts no barrier stage, as one of {workers} workers is, while {_ENABLED} is true\n"
        f"Start {start} with {_ENABLED}=false and spark.executor.instances={needed}{other}"
    )


def has_kept_slots(spark: SparkSession, workers: int) -> bool:
    """Whether executors come and go, and those that always stay have slots for all workers."""
    if is_connect(spark) or not allocates_dynamically(spark):
        return False
    return kept_executors(spark) * slots_of_executor(spark) >= workers


@contextlib.contextmanager
def barrier_stages(spark: SparkSession) -> Iterator[None]:
    """Let Spark start barrier stages in the block, on executors that stay.

    Stages of several threads may overlap: the last one to end puts the setting back.
    """
    if is_connect(spark) or not allocates_dynamically(spark):
        yield
        return
    context = spark.sparkContext
    # The scheduler asks these, not the session's copy, which goes on to say what the user set.
    settings: Any = context._jsc.sc().conf()
    key = id(context)
    with _counting:
        _stages[key] += 1
        settings.set(_ENABLED, "false")
    try:
        yield
    finally:
        with _counting:
            _stages[key] -= 1
            # A session that was stopped meanwhile has nothing to put back.
            if not _stages[key] and context._jsc is not None:
                with contextlib.suppress(*spark_errors()):
                    settings.set(_ENABLED, "true")
