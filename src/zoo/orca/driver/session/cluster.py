"""What a Spark session says about itself and its cluster.

Every function takes the session of the DataFrame at hand. Spark keeps the active session per
thread: in the user's own threads, or within ``foreachBatch``, there is none, or another one.
"""

import re
import time

from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession

from zoo.orca.wire.processors import usable_processors

#: Executors of a session that is younger than this may still be registering.
_REGISTERED_WITHIN_SECONDS = 30.0
#: All are registered after this long without a new one, in seconds and as a part of the time that
#: the last one took: machines that start a JVM slowly are as far apart as they are slow.
_SETTLED_SECONDS, _SETTLED_PART = 1.0, 0.5


def is_local(spark: SparkSession) -> bool:
    """Whether the session runs in this very process tree, on this machine."""
    return not is_connect(spark) and _setting(spark, "spark.master").startswith("local")


def is_one_process(spark: SparkSession) -> bool:
    """Whether tasks run in the process of Spark's driver, on this machine or a server's."""
    return re.fullmatch(r"local(\[.*\])?", _setting(spark, "spark.master")) is not None


def is_connect(spark: SparkSession) -> bool:
    """Whether the session talks to a Spark Connect server."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def is_stopped(spark: SparkSession) -> bool:
    """Whether the session was stopped; a DataFrame keeps its session even then."""
    if is_connect(spark):
        return bool(spark.is_stopped)  # type: ignore[attr-defined]
    return spark._sc._jsc is None


def allocates_dynamically(spark: SparkSession) -> bool:
    """Whether executors of the session come and go with its load; in local mode there are none."""
    if is_one_process(spark):
        return False
    return _setting(spark, "spark.dynamicAllocation.enabled") == "true"


def kept_executors(spark: SparkSession) -> int:
    """Return how many executors always stay, where executors come and go."""
    return int(_setting(spark, "spark.dynamicAllocation.minExecutors") or 0)


def slots_of_executor(spark: SparkSession) -> int:
    """Return how many tasks an executor runs at once; 1 if the settings do not tell."""
    cores = int(_setting(spark, "spark.executor.cores") or 1)
    return max(1, cores // int(_setting(spark, "spark.task.cpus") or 1))


def nodes(spark: SparkSession) -> int:
    """Return the number of nodes for the session's workers: its executors; 1 in local mode.

    Settings count first: they hold before the last executor has registered. Without them the
    registered executors are counted. A Spark Connect server tells only settings; without them, 1.
    """
    if is_one_process(spark):
        return 1
    said = int(_setting(spark, "spark.executor.instances") or 0)
    if allocates_dynamically(spark):
        # spark.executor.instances is only the number at the start, and all but these may leave.
        said = kept_executors(spark)
        return said or (1 if is_connect(spark) else max(1, _executors(spark)))
    return said or (1 if is_connect(spark) else max(1, _executors(spark)))


def executor_cores(spark: SparkSession) -> int:
    """Return the cores of one executor if the cluster sets them; 0 means all of the host's."""
    return 0 if is_local(spark) else int(_setting(spark, "spark.executor.cores") or 0)


def slots(spark: SparkSession, profile: ResourceProfile | None = None) -> int | None:
    """Return how many tasks can run at once now; None if the session cannot tell."""
    if is_connect(spark):
        return _slots_of_server(spark)
    # The public Python API has only defaultParallelism, which a setting can override.
    scala = spark.sparkContext._jsc.sc()
    manager = scala.resourceProfileManager()
    if profile is None:
        return int(scala.maxNumConcurrentTasks(manager.defaultResourceProfile()))
    # Spark counts slots only for profiles that it knows. Otherwise the stage would add this one.
    manager.addResourceProfile(profile._java_resource_profile)
    return int(scala.maxNumConcurrentTasks(profile._java_resource_profile))


def threads_per_task(spark: SparkSession) -> int:
    """Return how many processor threads one task may use when all slots are busy."""
    if is_local(spark):
        return max(1, len(usable_processors()) // max(1, slots(spark) or 1))
    return int(_setting(spark, "spark.task.cpus") or 1)


def threads_per_worker(spark: SparkSession, workers: int) -> int | None:
    """Return how many threads each worker of a stage gets; None if only its hosts know.

    It is what a task finds out for itself, if Spark spreads the tasks evenly and no other call's
    workers are beside it.
    """
    cores = len(usable_processors()) if is_local(spark) else executor_cores(spark)
    if not cores:
        return None
    hosts = 1 if is_local(spark) else nodes(spark)
    return max(1, cores // max(1, -(-workers // hosts)))


def _executors(spark: SparkSession) -> int:
    """Return the number of registered executors, without the driver.

    In a session that has just started, it waits for executors that are still coming: their number
    would otherwise be up to chance.
    """
    context = spark.sparkContext
    # The public Python API lists the driver among them, and does not say which it is.
    scala = context._jsc.sc()
    start = int(context.startTime) / 1000
    all_by = start + _REGISTERED_WITHIN_SECONDS
    found, since = -1, 0.0
    while True:
        before, found = found, int(scala.getExecutorIds().size())
        if found != before:
            since = time.time()
        patience = max(_SETTLED_SECONDS, _SETTLED_PART * (since - start))
        settled = found > 0 and time.time() >= since + patience
        # With dynamic allocation, no executor need be coming.
        if settled or time.time() >= all_by or allocates_dynamically(spark):
            return found
        time.sleep(0.1)


def _slots_of_server(spark: SparkSession) -> int | None:
    """Return the slots of a Spark Connect server, if its settings tell.

    Spark's own check on the server takes ten minutes.
    """
    cpus = int(_setting(spark, "spark.task.cpus") or 1)
    master = _setting(spark, "spark.master")
    if found := re.fullmatch(r"local(?:\[(\d+)(?:,\s*\d+)?\])?", master):
        return int(found[1] or 1) // cpus
    if allocates_dynamically(spark):
        return None
    cores = _setting(spark, "spark.executor.cores")
    executors = _setting(spark, "spark.executor.instances")
    return int(cores) * int(executors) // cpus if cores and executors else None


def _setting(spark: SparkSession, key: str) -> str:
    """Return a setting of the session; an empty string if it is not set."""
    return spark.conf.get(key, "") or ""
