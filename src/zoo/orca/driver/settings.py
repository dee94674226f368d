"""Orca's own settings in the Spark session: ``spark.orca.*``, each with its default."""

from pyspark.sql import SparkSession


def heartbeat_seconds(spark: SparkSession) -> float:
    """Return ``spark.orca.heartbeat.timeout``: seconds of silence that mean a frozen worker."""
    return _seconds(spark, "spark.orca.heartbeat.timeout", 60.0)


def connect_seconds(spark: SparkSession) -> float:
    """Return ``spark.orca.connect.timeout``: seconds in which all workers must have met."""
    return _seconds(spark, "spark.orca.connect.timeout", 60.0)


def _seconds(spark: SparkSession, key: str, default: float) -> float:
    return float(spark.conf.get(key, str(default)) or default)
