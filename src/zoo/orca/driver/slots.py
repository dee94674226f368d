"""How many workers can run at the same time, asked before a stage that would wait for ever.

A barrier stage needs all its tasks at once. Spark checks that too, but for ten minutes and in a
log line; here the answer comes within seconds and names the numbers.
"""

import re
import time

from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession

from zoo.orca.errors import SlotsError
from zoo.orca.wire.processors import usable_processors

#: Executors of a cluster may still be registering when the first stage is asked for.
_PATIENCE_SECONDS = 10.0


def check_slots(spark: SparkSession, workers: int, profile: ResourceProfile | None = None) -> None:
    """Return if `workers` tasks, of `profile` if it is given, can run at the same time.

    Raises
    ------
    SlotsError
        If they cannot, after a wait of some seconds for executors that are still starting.
    """
    # What settings say does not change, and local mode has its slots from the start.
    certain = is_local(spark) or is_connect(spark)
    deadline = time.monotonic() + (0 if certain else _PATIENCE_SECONDS)
    while (slots := _slots(spark, profile)) is not None and slots < workers:
        if time.monotonic() >= deadline:
            raise SlotsError(_describe(spark, workers, slots, profile))
        time.sleep(0.2)


def is_local(spark: SparkSession) -> bool:
    """Whether the session runs in this very process tree, on this machine."""
    return (spark.conf.get("spark.master", "") or "").startswith("local") and not is_connect(spark)


def is_connect(spark: SparkSession) -> bool:
    """Whether the session talks to a Spark Connect server."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def executor_cores(spark: SparkSession) -> int:
    """Return the cores of one executor where the cluster says so; 0 means all of the host's."""
    if is_local(spark):
        return 0
    return int(spark.conf.get("spark.executor.cores", "0") or 0)


def _slots(spark: SparkSession, profile: ResourceProfile | None = None) -> int | None:
    """Return the tasks that can run at once now; None where the session cannot tell."""
    if is_connect(spark):
        return _slots_of_server(spark)
    # Public Python API knows only defaultParallelism, which a setting can override.
    scala = spark.sparkContext._jsc.sc()
    manager = scala.resourceProfileManager()
    if profile is None:
        return int(scala.maxNumConcurrentTasks(manager.defaultResourceProfile()))
    # Spark counts the slots of profiles that it knows; it would come to know it with the stage.
    manager.addResourceProfile(profile._java_resource_profile)
    return int(scala.maxNumConcurrentTasks(profile._java_resource_profile))


def _slots_of_server(spark: SparkSession) -> int | None:
    """Return the slots of a Spark Connect server as far as its settings tell.

    Spark's own check, with which the server answers in the end, takes ten minutes.
    """
    conf = spark.conf
    cpus = int(conf.get("spark.task.cpus", "1") or 1)
    if found := re.fullmatch(
        r"local(?:\[(\d+)(?:,\s*\d+)?\])?", conf.get("spark.master", "") or ""
    ):
        return int(found[1] or 1) // cpus
    cores = conf.get("spark.executor.cores", "")
    executors = conf.get("spark.executor.instances", "")
    if (conf.get("spark.dynamicAllocation.enabled", "") or "") == "true":
        return None
    return int(cores) * int(executors) // cpus if cores and executors else None


def _describe(
    spark: SparkSession, workers: int, slots: int, profile: ResourceProfile | None
) -> str:
    master = spark.conf.get("spark.master", "") or ""
    if master.startswith("local"):
        way = f"local[{workers}] (init_orca_context(cores={workers}))"
    elif (spark.conf.get("spark.dynamicAllocation.enabled", "false") or "") == "true":
        way = f"spark.dynamicAllocation.minExecutors so that {workers} slots are there at the start"
    else:
        way = "spark.executor.instances and spark.executor.cores (num_nodes and cores)"
    return (
        f"{workers} workers need {workers} slots at the same time, and {master} has {slots}\n"
        f"Ask for fewer workers (num_workers={slots}), or raise {way}; spark.task.cpus is "
        f"{spark.conf.get('spark.task.cpus', '1')}{_gpus(spark, profile)}"
    )


def _gpus(spark: SparkSession, profile: ResourceProfile | None) -> str:
    """Return what workers need beside a slot, for the error."""
    if profile is None:
        return ""
    wanted = {name: f"{one.amount:g}" for name, one in profile.taskResources.items()}
    there = spark.conf.get("spark.executor.resource.gpu.amount", "0")
    return (
        f". Each of these workers takes {wanted['gpu']} GPUs and {wanted['cpus']} cores, and each "
        f"executor has {there} GPUs"
    )


def active_session() -> SparkSession | None:
    """Return the session that is active in this thread, if one is."""
    return SparkSession.getActiveSession()


def default_nodes() -> int:
    """Return the machines that the active session works on, as far as its settings say; else 1."""
    spark = active_session()
    if spark is None or is_local(spark):
        return 1
    return int(spark.conf.get("spark.executor.instances", "1") or 1)


def threads_per_task(spark: SparkSession) -> int:
    """Return the processor threads that one of many tasks at the same time may use."""
    if is_local(spark):
        return max(1, len(usable_processors()) // max(1, _slots(spark) or 1))
    return int(spark.conf.get("spark.task.cpus", "1") or 1)
