"""Which attempts of a barrier stage Spark has given up."""

import contextlib
import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark import BarrierTaskContext, TaskContext
from pyspark.sql import SparkSession

from zoo.orca.driver.reports.attempts import Attempts
from zoo.orca.driver.reports.spark_failures import spark_errors

pytestmark = pytest.mark.timeout(120)


def seen_by(task):
    """Return a task that passes on what it is, and then does `task`."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            pass
        context = TaskContext.get()
        numbers = [[context.stageId()], [context.taskAttemptId()], [context.partitionId()]]
        yield pa.RecordBatch.from_arrays(list(map(pa.array, numbers)), ["stage", "task", "rank"])
        task(context)

    return run


def stage_of(spark: SparkSession, task) -> list:
    frame = spark.range(0, 4, 1, 2)
    schema = "stage long, task long, rank long"
    return frame.mapInArrow(seen_by(task), schema, barrier=True).collect()


def test_an_attempt_whose_tasks_have_not_failed_is_not_over(spark: SparkSession) -> None:
    attempts = Attempts(spark)
    for row in stage_of(spark, lambda context: None):
        assert not attempts.is_over(row.stage, row.task)
    assert not attempts.is_over(1 << 20, 0)  # no such stage


def test_an_attempt_that_has_lost_a_task_is_over(spark: SparkSession) -> None:
    rows = stage_of(spark, lambda context: None)
    newest = max(row.stage for row in rows)
    last = max(row.task for row in rows)

    def fail(context: TaskContext) -> None:
        BarrierTaskContext.get().barrier()
        if context.partitionId() == 0:
            raise OSError("no rows")

    with contextlib.suppress(*spark_errors()):
        stage_of(spark, fail)
    # The next stage, and the next two tasks.
    attempts = Attempts(spark)
    over = [attempts.is_over(newest + 1, last + number) for number in (1, 2)]
    assert over == [True, True]


def test_many_tasks_ask_at_once(spark: SparkSession) -> None:
    rows, attempts, told = stage_of(spark, lambda context: None), Attempts(spark), []
    ask = [(row.stage, row.task) for row in rows] * 8
    threads = [
        threading.Thread(target=lambda one=one: told.append(attempts.is_over(*one))) for one in ask
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert told == [False] * 16
