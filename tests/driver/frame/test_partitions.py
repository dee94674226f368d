"""Frames whose number of partitions is known stay as they are; all others are exchanged."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from tests.driver.frame.test_source import WORKERS, column_of, numbers, spool_stage
from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.frame.partitions import known_partitions
from zoo.orca.driver.frame.sequence import ORIGIN, PLACE
from zoo.orca.driver.frame.source import prepare, read_spec
from zoo.orca.driver.stage import run_stage
from zoo.orca.errors import InvalidInputError

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def files(spark, tmp_path):
    """300 rows in a file for each worker."""
    numbers(spark, 300, WORKERS).write.parquet(str(tmp_path / "rows"))
    return spark.read.parquet(str(tmp_path / "rows"))


def range_of(spark, partitions=WORKERS):
    return numbers(spark, 300, partitions)


def rdd_of(spark, partitions):
    return spark.sparkContext.parallelize([(number,) for number in range(300)], partitions)


KNOWN = {
    "range": lambda spark, files: range_of(spark),
    "files": lambda spark, files: files,
    "narrow": lambda spark, files: files.where("x % 3 = 0").withColumn("y", F.rand(1)),
    "repartition": lambda spark, files: range_of(spark, 7).repartition(WORKERS),
    "by column": lambda spark, files: range_of(spark, 7).repartition(WORKERS, "x").where("x < 99"),
    "empty partitions": lambda spark, files: range_of(spark).where("x < 10"),
    "local": lambda spark, files: spark.sql("select x from values (1), (2), (3) as rows(x)"),
    "cached": lambda spark, files: files.withColumn("y", F.col("x") + 1).cache(),
    "rdd": lambda spark, files: rdd_of(spark, WORKERS).toDF(["x"]),
    "rdd of a frame": lambda spark, files: files.rdd.map(lambda row: (row.x + 1,)).toDF(["x"]),
    "rdd with a schema": lambda spark, files: spark.createDataFrame(
        rdd_of(spark, WORKERS).filter(lambda row: row[0] % 2), "x long"
    ),
    "rdd behind a shuffle": lambda spark, files: rdd_of(spark, 7).repartition(WORKERS).toDF(["x"]),
    "cached rdd": lambda spark, files: rdd_of(spark, WORKERS).toDF(["x"]).cache(),
    "cached repartition": lambda spark, files: range_of(spark, 7).repartition(WORKERS).cache(),
}

UNKNOWN = {
    "grouped": lambda base: base.groupBy("x").count(),
    "join": lambda base: base.join(base.toDF("y").hint("merge"), F.expr("x = y")),
    "sorted": lambda base: base.orderBy(F.desc("x")),
    "union": lambda base: base.where("x < 9").unionAll(base),
    "coalesced": lambda base: base.repartition(7).coalesce(WORKERS),
    "limited": lambda base: base.limit(100),
    "rdd of a union": lambda base: (
        base.sparkSession.sparkContext.union([base.rdd, base.rdd]).toDF().where("x < 99")
    ),
    "rdd put together": lambda base: base.repartition(7).rdd.coalesce(WORKERS).toDF(),
    "by column alone": lambda base: base.repartition("x"),
    "subquery": lambda base: base.where("x >= (select min(id) from range(5))"),
    "grouped and cached": lambda base: base.groupBy("x").count().cache(),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_frame_with_a_partition_for_each_worker_stays_as_it_is(spark, files, kind):
    df = KNOWN[kind](spark, files)
    try:
        spec = read_spec(df, ["x"])
        frame = prepare(df, spec, WORKERS, 1).frame
        assert frame.columns == ["c0"]
        ranks = spool_stage(frame, spec)
        assert [rank["size"] for rank in ranks] == [WORKERS] * WORKERS
        collected = [row.x for row in df.select("x").collect()]
        # Partition after partition, each in its own order.
        assert column_of(ranks, "x") == collected
    finally:
        df.unpersist()


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_not_certain_is_exchanged(spark, kind):
    df = UNKNOWN[kind](range_of(spark))
    try:
        assert known_partitions(df) is None
        spec = read_spec(df, ["x"])
        frame = prepare(df, spec, WORKERS, 1).frame
        assert frame.columns == ["c0", ORIGIN, PLACE]
        ranks = spool_stage(frame, spec)
        assert len(ranks) == WORKERS
        assert sorted(column_of(ranks, "x")) == sorted(row.x for row in df.select("x").collect())
    finally:
        df.unpersist()


def test_asking_runs_nothing(spark, files):
    spark.sparkContext.setJobGroup("asking", "runs nothing")
    try:
        rdd = rdd_of(spark, 4).map(lambda row: row)
        for df in (
            files,
            files.repartition(5),
            files.groupBy("x").count().repartition(2),
            spark.createDataFrame(rdd, "x long"),
        ):
            known_partitions(df)
        assert spark.sparkContext.statusTracker().getJobIdsForGroup("asking") == []
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)


@pytest.mark.parametrize("adaptive", [True, False])
def test_adaptive_execution_or_not(spark, adaptive):
    spark.conf.set("spark.sql.adaptive.enabled", adaptive)
    try:
        grouped = numbers(spark, 300, 7).groupBy("x").count()
        assert known_partitions(grouped) is None
        assert known_partitions(grouped.repartition(WORKERS)) == WORKERS
    finally:
        spark.conf.unset("spark.sql.adaptive.enabled")


def test_another_number_shuffle_and_validation_are_exchanged(spark):
    df = numbers(spark, 300, WORKERS)
    spec = read_spec(df, ["x"])
    assert ORIGIN in prepare(df, spec, WORKERS - 1, 1).frame.columns
    assert ORIGIN in prepare(df, spec, WORKERS, 1, shuffle=True).frame.columns
    assert ORIGIN in prepare(df, spec, WORKERS, 1, df).frame.columns


@pytest.mark.parametrize("shuffle", [None, True])
def test_uneven_partitions_train_like_even_ones(spark, shuffle):
    """Of three partitions the first is nearly empty; one batch is all rows."""
    df = (
        numbers(spark, 60, WORKERS)
        .where("x >= 19")
        .select((F.col("x") / 60).alias("x"), (2 * F.col("x") / 60).alias("y"))
    )
    assert known_partitions(df) == WORKERS
    stays, alone = FakeEstimator.of(linear(1), WORKERS), FakeEstimator.of(linear(1), 1)
    loss = stays.fit(df, epochs=3, batch_size=100, shuffle=shuffle).history["loss"]
    np.testing.assert_allclose(
        loss, alone.fit(df, epochs=3, batch_size=100).history["loss"], rtol=1e-12
    )
    np.testing.assert_allclose(stays.weights, alone.weights, rtol=1e-12)
    again = FakeEstimator.of(linear(1), WORKERS)
    again.fit(df, epochs=3, batch_size=100, shuffle=shuffle)
    np.testing.assert_array_equal(again.weights, stays.weights)


def test_shuffle_cannot_be_turned_off(spark):
    df = numbers(spark, 10, 1).withColumn("y", F.col("x"))
    with pytest.raises(InvalidInputError, match="shuffle=False"):
        FakeEstimator.of(linear(1), 1).fit(df, shuffle=False)


@pytest.mark.parametrize(("first", "stages"), [(15, 1), (30, 2)])
def test_rows_that_lie_too_unevenly_are_placed_anew(spark, monkeypatch, first, stages):
    """Three partitions of twenty rows, of which the first loses some."""
    df = numbers(spark, 60, WORKERS).where(f"x < 5 or x >= {first - 10}")
    df = df.select((F.col("x") / 60).alias("x"), (F.col("x") / 30).alias("y"))
    exchanged = []

    def run(frame, *rest):
        exchanged.append(ORIGIN in frame.columns)
        return run_stage(frame, *rest)

    monkeypatch.setattr("zoo.orca.driver.request.run_stage", run)
    est = FakeEstimator.of(linear(1), WORKERS)
    est.fit(df, batch_size=100)
    assert exchanged == [False, True][:stages]
    exchanged.clear()
    est.evaluate(df)
    assert exchanged == [False, True][:stages]
