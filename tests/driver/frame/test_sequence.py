"""The sequence of rows and the parts of workers, as Spark makes them."""

import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F

from zoo.orca.driver.frame.sequence import exchanged, keys_of
from zoo.orca.wire.plans.canonical import first_shard


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 130])
def test_spark_puts_each_key_into_its_partition(spark, partitions):
    keys = spark.createDataFrame([(key,) for key in keys_of(partitions)], "key int")
    placed = keys.select(F.pmod(F.hash("key"), F.lit(partitions)).alias("partition")).collect()
    assert [row.partition for row in placed] == list(range(partitions))


@pytest.fixture
def frame(spark):
    return spark.range(0, 1000, 1, 3).select("id", F.array(F.col("id") % 7, "id").alias("v"))


@pytest.mark.parametrize("shards", [12, 64, 7, 2])
def test_rows_have_the_same_places_for_any_workers_and_partitions(frame, shards):
    found = []
    for workers in (1, 2, 3, 5):
        rows = exchanged(frame.repartition(workers), frame.columns, shards, workers, seed=7)
        rows = rows.withColumn("at", F.spark_partition_id()).collect()
        for row in rows:
            shard = ((row["place"] >> 33) + (1 << 30)) * shards >> 31
            first, end = (first_shard(row["at"] + one, shards, workers) for one in (0, 1))
            assert first <= shard < end
        found.append({row["id"]: row["place"] for row in rows})
    assert len(found[0]) == 1000 and found[1:] == found[:-1]


def test_workers_get_about_equally_many_rows(frame):
    rows = exchanged(frame, frame.columns, 60, 3, seed=7).groupBy(F.spark_partition_id()).count()
    assert min(row["count"] for row in rows.collect()) > 270  # 333 on the average


def test_another_seed_and_other_values_have_other_places(frame):
    first, second, other = (
        {row["id"]: row["place"] for row in exchanged(rows, rows.columns, 12, 2, seed).collect()}
        for rows, seed in ((frame, 1), (frame, 2), (frame.withColumn("v", F.lit(1)), 1))
    )
    assert first != second != other != first


def test_vectors_and_every_kind_of_column_have_places(spark):
    row = (1, 2.0, True, "s", b"b", [[1.0], [2.0]], Vectors.dense(1, 2), Vectors.sparse(3, {1: 1}))
    frame = spark.createDataFrame([row], [f"c{index}" for index in range(len(row))])
    (found,) = exchanged(frame, frame.columns, 2, 2, seed=1).collect()
    assert isinstance(found["place"], int)
