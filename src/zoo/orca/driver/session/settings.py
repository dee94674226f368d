"""Orca's own settings in the Spark session: ``spark.orca.*``, each with its default.

Spark's settings of sizes are read here, too.
"""

import re

from pyspark.sql import SparkSession

from zoo.orca.driver.session.cluster import is_one_process
from zoo.orca.errors import InvalidInputError
from zoo.orca.refusals import noted, refuse

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def heartbeat_seconds(spark: SparkSession) -> float:
    """Return ``spark.orca.heartbeat.timeout``: seconds until a silent worker counts as frozen."""
    return _seconds(spark, "spark.orca.heartbeat.timeout", 60.0)


def connect_seconds(spark: SparkSession) -> float:
    """Return ``spark.orca.connect.timeout``: seconds within which all workers must connect."""
    return _seconds(spark, "spark.orca.connect.timeout", 60.0)


def elastic_patience(spark: SparkSession) -> float:
    """Return ``spark.orca.elastic.patience``: seconds that a stage waits for lost executors."""
    return _seconds(spark, "spark.orca.elastic.patience", 60.0)


def full_traceback(spark: SparkSession) -> bool:
    """Return ``spark.orca.full.traceback``: whether errors show frames of Orca and Spark, too."""
    return _flag(spark, "spark.orca.full.traceback", False)


def transform_processes(spark: SparkSession) -> int:
    """Return ``spark.orca.transform.processes``: of each worker, for transforms; 0 for threads."""
    key = "spark.orca.transform.processes"
    given = spark.conf.get(key, "") or "0"
    if not given.strip().isdecimal():
        raise InvalidInputError(
            f"{key}={given!r} is not a number of processes\nWrite a whole number; 0 means threads"
        )
    return int(given)


def _seconds(spark: SparkSession, key: str, default: float) -> float:
    """Return the seconds of a time: a bare number, or as Spark writes one, such as 90s or 2m."""
    given = spark.conf.get(key, "") or str(default)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(ms|s|m|min|h)?", given.strip().lower())
    if found is None or not float(found[1]):
        refuse(
            InvalidInputError(
                f"{key}={given!r} is not a time\n"
                "Write seconds, as in 90, or a unit that Spark knows, as in 90s, 2m or 1h"
            )
        )
        return default
    return float(found[1]) * _SECONDS[found[2] or "s"]


def _flag(spark: SparkSession, key: str, default: bool) -> bool:
    given = spark.conf.get(key, "") or str(default)
    if given.strip().lower() not in ("true", "false"):
        refuse(InvalidInputError(f"{key}={given!r} is neither true nor false\nWrite one of these"))
    return given.strip().lower() == "true"


@noted(lambda: 1 << 28)
def data_memory(spark: SparkSession) -> int:
    """Return ``spark.orca.data.memory``: bytes of rows that a worker may hold in memory.

    The default is a quarter of an executor's memory; in local mode the driver is the executor,
    that of a Spark Connect server, too.

    Raises
    ------
    InvalidInputError
        If it is not a size by Spark's rules.
    """
    key = "spark.orca.data.memory"
    if given := spark.conf.get(key, ""):
        return max(1, read_bytes_setting(key, given))
    key = "spark.driver.memory" if is_one_process(spark) else "spark.executor.memory"
    return read_bytes_setting(key, spark.conf.get(key, "1g") or "1g", "m") // 4


@noted(int)
def max_result_bytes(spark: SparkSession) -> int:
    """Return Spark's limit on the bytes of a job's results; 0 for no limit."""
    key = "spark.driver.maxResultSize"
    return read_bytes_setting(key, spark.conf.get(key, "1g") or "1g")


def read_bytes_setting(key: str, text: str, unit: str = "") -> int:
    """Return the bytes that a setting's text means to Spark; `unit` is a bare number's unit.

    Raises
    ------
    InvalidInputError
        If the text is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([kmgtp])b?|b?)", text.strip().lower())
    if found is None:
        raise InvalidInputError(
            f"{key}={text!r} is not a size\nWrite bytes, or a unit that Spark knows: 256m or 2g"
        )
    bare = found[0] == found[1]
    return int(float(found[1]) * 1024 ** " kmgtp".index(found[2] or (unit if bare else "") or " "))
