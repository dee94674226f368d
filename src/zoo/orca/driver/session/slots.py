"""Checks that all workers can run at the same time, before a stage that would wait for ever.

A barrier stage needs all its tasks at once. Spark checks that too, but takes ten minutes and writes
a log line. This check answers within seconds and names the numbers.
"""

import time

from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession

from zoo.orca.driver.session.allocation import has_kept_slots
from zoo.orca.driver.session.cluster import allocates_dynamically, is_connect, is_local, slots
from zoo.orca.driver.session.settings import elastic_patience
from zoo.orca.errors import SlotsError

#: Executors of a cluster may still be registering when the first stage is asked for.
_PATIENCE_SECONDS = 10.0


def check_slots(spark: SparkSession, workers: int, profile: ResourceProfile | None = None) -> None:
    """Check that `workers` tasks can run at the same time, with `profile` if it is given.

    Raises
    ------
    SlotsError
        If they cannot, after some seconds of waiting for executors that are still starting.
    """
    # Settings do not change, and local mode has its slots from the start.
    certain = is_local(spark) or is_connect(spark)
    patience = _PATIENCE_SECONDS
    if has_kept_slots(spark, workers):
        patience = max(patience, elastic_patience(spark))  # those that are to stay will come
    deadline = time.monotonic() + (0 if certain else patience)
    while (found := slots(spark, profile)) is not None and found < workers:
        if time.monotonic() >= deadline:
            error = SlotsError(_describe(spark, workers, found, profile))
            error.slots = found
            raise error
        time.sleep(0.2)


def _describe(
    spark: SparkSession, workers: int, found: int, profile: ResourceProfile | None
) -> str:
    master = spark.conf.get("spark.master", "") or ""
    if is_connect(spark):  # which a program cannot set
        way = f"the server's spark.executor.instances and spark.executor.cores to {workers} slots"
        if master.startswith("local"):
            way = f"the server's spark.master to local[{workers}]"
    elif master.startswith("local"):
        way = f"local[{workers}] (init_orca_context(cores={workers}))"
    elif allocates_dynamically(spark):
        way = f"spark.dynamicAllocation.minExecutors so that {workers} slots are there at the start"
    else:
        way = "spark.executor.instances and spark.executor.cores (num_nodes and cores)"
    return (
        f"{workers} workers need {workers} slots at the same time, and {master} has {found}\n"
        f"Ask for fewer workers (num_workers={found}), or raise {way}; spark.task.cpus is "
        f"{spark.conf.get('spark.task.cpus', '1')}{_gpus(spark, profile)}"
    )


def _gpus(spark: SparkSession, profile: ResourceProfile | None) -> str:
    """Return the error's text about GPUs."""
    if profile is None:
        return ""
    wanted = {name: f"{one.amount:g}" for name, one in profile.taskResources.items()}
    there = spark.conf.get("spark.executor.resource.gpu.amount", "0")
    return (
        f". Each of these workers takes {wanted['gpu']} GPUs and {wanted['cpus']} cores, and each "
        f"executor has {there} GPUs"
    )
