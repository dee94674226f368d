"""Which jobs of Spark run, where that is told: a Spark Connect server does not tell its own."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from zoo.orca.driver.session.cluster import is_connect

_GROUP = "no job is to run"


@contextmanager
def no_job(spark: SparkSession) -> Iterator[None]:
    """Check that the block starts no job in this thread; over Spark Connect only run it."""
    if is_connect(spark):
        yield
        return
    context = spark.sparkContext
    context.setJobGroup(_GROUP, "")
    try:
        yield
        assert context.statusTracker().getJobIdsForGroup(_GROUP) == []
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)


def running_jobs(spark: SparkSession) -> list[int]:
    """Return the jobs that run; of a server none, where the workers' end has to show theirs."""
    return [] if is_connect(spark) else list(spark.sparkContext.statusTracker().getActiveJobsIds())
