"""Whether Spark has given up the attempt of a stage that a task is of.

A task that cannot fetch its rows, because the executor that had them was lost, fails before any
Python runs. Spark then begins the barrier stage again, but neither ends nor tells the attempt's
other tasks. What it knows is in its status store, which feeds its web pages.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_connect, is_stopped

#: Seconds for which an answer holds: many tasks ask at once.
_HOLDS = 1.0
#: More tasks than any stage has.
_MOST_TASKS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    """The newest attempt of a stage: its number, its tasks' numbers, those that failed."""

    attempt: int
    tasks: frozenset[int]
    failed: int
    seen_at: float


class Attempts:
    """The newest attempts of a session's stages, looked up when a task asks.

    Parameters
    ----------
    spark : SparkSession
    """

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._lock = threading.Lock()
        self._newest: dict[int, _Newest] = {}

    def is_over(self, stage: int, task: int) -> bool:
        """Whether a running task's attempt has lost another task, or has a successor.

        Over Spark Connect nobody can tell, so it is False. Called from any thread.
        """
        with self._lock:
            newest = self._newest.get(stage)
            if newest is None or time.monotonic() - newest.seen_at > _HOLDS:
                newest = self._look(stage)
            if newest is None:
                return False
            self._newest[stage] = newest
        if task in newest.tasks:
            return newest.failed > 0
        # Spark's store may be late, but there is nothing before the first attempt.
        return newest.attempt > 0

    def _look(self, stage: int) -> _Newest | None:
        if is_connect(self._spark) or is_stopped(self._spark):
            return None
        try:
            # The public Python API does not tell which tasks an attempt has.
            store: Any = self._spark.sparkContext._jsc.sc().statusStore()
            found = store.lastStageAttempt(stage)
            tasks = store.taskList(stage, found.attemptId(), _MOST_TASKS)
            return _Newest(
                attempt=int(found.attemptId()),
                tasks=frozenset(int(tasks.apply(n).taskId()) for n in range(tasks.size())),
                failed=int(found.numFailedTasks()),
                seen_at=time.monotonic(),
            )
        except spark_errors():  # the session ends, or the store does not know the stage yet
            return None
