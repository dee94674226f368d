"""What a stage requests from Spark if its workers want GPUs, and whether the cluster has it.

========================================  ==========================================
local mode                                nothing: Spark schedules no GPUs there, and
                                          the workers share out those of the machine
``spark.task.resource.gpu.amount`` is     nothing: every task gets them anyway
what a worker wants
standalone, YARN, Kubernetes              a resource profile for the tasks of this
                                          stage alone (stage-level scheduling)
anything else, dynamic allocation         refused: the setting above is needed
========================================  ==========================================

Executors must have the GPUs from their start. Spark starts new executors for a profile only with
dynamic allocation, and then it runs no barrier stage.
"""

import re
import warnings

from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession

from zoo.orca.driver.session.cluster import allocates_dynamically, is_connect
from zoo.orca.errors import DeviceError

_EXECUTOR = "spark.executor.resource.gpu.amount"
_TASK = "spark.task.resource.gpu.amount"
#: Masters on which Spark accepts profiles of only task resources.
_PROFILES = ("spark://", "yarn", "k8s://", "local-cluster")


def gpu_profile(spark: SparkSession, gpus: int) -> ResourceProfile | None:
    """Return the profile for ``mapInArrow(..., profile=)`` that gives each task `gpus` GPUs.

    None if the tasks need no profile: `gpus` is 0, the session's settings give every task its GPUs,
    or Spark does not schedule GPUs in this mode (a warning says so).

    Raises
    ------
    DeviceError
        If the executors have too few GPUs, or Spark cannot schedule them here; names the setting.
    """
    if not gpus:
        return None
    if schedules_no_gpus(spark):
        warnings.warn(
            f"num_gpus_per_worker={gpus}: Spark schedules no GPUs in local mode, so the workers "
            "share out those of this machine, and one may serve several workers",
            stacklevel=2,
        )
        return None
    executor = _number(spark, _EXECUTOR)
    if executor < gpus:
        raise DeviceError(_describe(gpus, executor))
    if _number(spark, _TASK) == gpus:
        return None
    _check_profiles(spark, gpus)
    return _build(gpus, _cpus(spark, gpus, int(executor)))


def schedules_no_gpus(spark: SparkSession) -> bool:
    """Whether the session's tasks run in the driver's process, where Spark schedules no GPUs."""
    return re.fullmatch(r"local(\[.*\])?", _master(spark)) is not None


def _build(gpus: int, cpus: int) -> ResourceProfile:
    requests = TaskResourceRequests().cpus(cpus).resource("gpu", gpus)
    return ResourceProfileBuilder().require(requests).build


def _check_profiles(spark: SparkSession, gpus: int) -> None:
    """Raise if Spark would refuse the profile; name the setting that needs none."""
    dynamic = allocates_dynamically(spark)
    if _master(spark).startswith(_PROFILES) and not dynamic:
        return
    why = "with spark.dynamicAllocation.enabled" if dynamic else f"on {_master(spark)!r}"
    raise DeviceError(
        f"num_gpus_per_worker={gpus}, and tasks get {_TASK}="
        f"{spark.conf.get(_TASK, '0')}: Spark cannot give other tasks other GPUs {why}\n"
        f"Start the session with {_TASK}={gpus}"
    )


def _cpus(spark: SparkSession, gpus: int, executor_gpus: int) -> int:
    """Return a worker's share of an executor's cores: cores and GPUs must run out together."""
    cores = int(spark.conf.get("spark.executor.cores", "0") or 0)
    least = int(spark.conf.get("spark.task.cpus", "1") or 1)
    return max(least, cores // max(1, executor_gpus // gpus))


def _number(spark: SparkSession, key: str) -> float:
    """Return a number of GPUs from the settings; a task's may be a fraction."""
    return float(spark.conf.get(key, "0") or 0)


def _master(spark: SparkSession) -> str:
    # A Connect server tells its master like any other setting.
    master = spark.conf.get("spark.master", "") or ""
    return master if master or not is_connect(spark) else "spark-connect"


def _describe(gpus: int, executor: float) -> str:
    there = f"{executor:g} ({_EXECUTOR})" if executor else f"none ({_EXECUTOR} is not set)"
    return (
        f"num_gpus_per_worker={gpus}, and each executor has {there}\nStart the cluster's session "
        f"with {_EXECUTOR}={gpus} or more and, where the cluster manager does not tell executors "
        "their GPUs by itself, spark.executor.resource.gpu.discoveryScript=PATH; in "
        "init_orca_context these go into conf=. Without GPUs: num_gpus_per_worker=0"
    )
