"""How many partitions a frame has, where its physical plan says so without being run.

Adaptive execution decides most partition counts while a query runs, and Spark Connect shows no
plan at all. What is left is certain: a plan that takes the rows as their source has them (a scan of
files, a range, a local table, an RDD, a cached frame made of these), and one that ends with an
exchange into a number that the user gave, ``repartition(n)``, which adaptive execution keeps. Above
either, only operators count that hand on each partition by itself.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame

from zoo.orca.driver.session.cluster import is_connect

#: Operators whose partitions are those of their one child. No `coalesce` and no union: Spark runs
#: neither in a barrier stage.
_ONE_TO_ONE = {
    "ColumnarToRowExec",
    "FilterExec",
    "InputAdapter",
    "ProjectExec",
    "WholeStageCodegenExec",
}
#: Leaves that know their partitions before anything runs.
_SOURCES = {
    "BatchScanExec",
    "FileSourceScanExec",
    "LocalTableScanExec",
    "RDDScanExec",
    "RangeExec",
}
#: Nodes that hold another plan without having it as a child.
_WITHIN: dict[str, Callable[[Any], Any]] = {
    "AdaptiveSparkPlanExec": lambda plan: plan.initialPlan(),
    "InMemoryTableScanExec": lambda plan: plan.relation().cachedPlan(),
}
#: RDDs that are looked at, each a few calls to the JVM; nobody knows of more.
_LONGEST_LINEAGE = 100
#: Why an exchange is there, if its number of partitions is the user's and is kept.
_BY_NUMBER = "REPARTITION_BY_NUM"


def known_partitions(df: DataFrame) -> int | None:
    """Return the number of partitions of `df`, or None where only running it would tell."""
    if is_connect(df.sparkSession):
        return None
    # Public Python API has only df.rdd.getNumPartitions(), which runs the plan's exchanges.
    return _partitions(df._jdf.queryExecution().executedPlan())


def _partitions(plan: Any) -> int | None:
    while True:
        kind = plan.getClass().getSimpleName()
        if plan.subqueries().nonEmpty():
            return None  # it may be a scan that would wait for them
        if kind in _ONE_TO_ONE:
            plan = plan.children().head()
        elif kind in _WITHIN:
            plan = _WITHIN[kind](plan)
        elif kind in _SOURCES:
            return _same_all_along(plan.execute())  # names the rows' places, reads none
        elif kind == "ShuffleExchangeExec" and plan.shuffleOrigin().toString() == _BY_NUMBER:
            return int(plan.outputPartitioning().numPartitions())
        else:
            return None


def _same_all_along(rdd: Any) -> int | None:
    """Return the partitions of an RDD, if it takes them one by one from those it is made of.

    The user's own RDD may be a union, or put partitions together: not in a barrier stage.
    """
    partitions = int(rdd.getNumPartitions())
    todo, seen = [rdd], set()
    while todo:
        one = todo.pop()
        if one.id() in seen:
            continue
        seen.add(one.id())
        if len(seen) > _LONGEST_LINEAGE:
            return None
        dependencies = one.dependencies()
        for index in range(dependencies.size()):
            dependency = dependencies.apply(index)
            if dependency.getClass().getSimpleName() == "ShuffleDependency":
                continue  # another stage
            if int(dependency.rdd().getNumPartitions()) != partitions:
                return None
            todo.append(dependency.rdd())
    return partitions
