"""The deal of rows to shards and workers, as Spark makes it."""

import pytest
from pyspark.sql import functions as F

from zoo.orca.driver.frame.shards import exchanged, keys_of


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 130])
def test_spark_puts_each_key_into_its_partition(spark, partitions):
    keys = spark.createDataFrame([(key,) for key in keys_of(partitions)], "key int")
    placed = keys.select(F.pmod(F.hash("key"), F.lit(partitions)).alias("partition")).collect()
    assert [row.partition for row in placed] == list(range(partitions))


def test_rows_have_the_same_shards_for_any_number_of_workers(spark):
    frame = spark.range(0, 1000, 1, 3)
    found = []
    for workers in (1, 2, 3, 5):
        dealt = exchanged(frame, 12, workers, seed=7).withColumn("at", F.spark_partition_id())
        rows = dealt.collect()
        assert {row["at"] == row["shard"] % workers for row in rows} == {True}
        found.append({row["id"]: (row["shard"], row["origin"]) for row in rows})
    assert len(found[0]) == 1000 and found[1:] == found[:-1]
    counts = [sum(shard == number for shard, _ in found[0].values()) for number in range(12)]
    assert min(counts) > 50  # 83 on the average


def test_another_seed_deals_anew(spark):
    first, second = (
        {row["id"]: row["shard"] for row in exchanged(spark.range(100), 12, 2, seed).collect()}
        for seed in (1, 2)
    )
    assert first != second
