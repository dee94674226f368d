"""The elements of a classic session's RDD as shards: a way in for programs that have one."""

from collections.abc import Iterable, Iterator
from typing import Any

from zoo.orca.context.context import OrcaContext
from zoo.orca.data.shard.lazy import LazyShards, cells_schema
from zoo.orca.driver.session.pythons import check_python, workers_python
from zoo.orca.driver.session.shipping import ship_package
from zoo.orca.wire.shards.packed import SHIFT
from zoo.orca.worker.shards.steps import packed_value


def is_rdd(value: Any) -> bool:
    """Whether a value is an RDD; without importing what Spark Connect lacks."""
    return any(
        one.__name__ == "RDD" and one.__module__.startswith("pyspark.")
        for one in type(value).__mro__
    )


def shards_of_rdd(rdd: Any) -> LazyShards:
    """Return the elements as shards, in their order."""
    spark = OrcaContext.get_spark_session()
    check_python(spark)
    ship_package(spark)
    with workers_python(spark):
        frame = spark.createDataFrame(rdd.mapPartitionsWithIndex(_packed), cells_schema())
    return LazyShards(source=frame)


def _packed(partition: int, elements: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for index, element in enumerate(elements, (partition + 1) << SHIFT):
        packed = packed_value(element)
        yield index, packed.form, packed.rows, bytearray(packed.data)
