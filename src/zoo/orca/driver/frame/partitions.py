"""How many partitions a frame has, if its physical plan tells without running.

Adaptive execution decides most partition counts while a query runs, and Spark Connect shows no
plan. Two kinds of plan are certain. One reads the rows as their source has them: a scan of files, a
range, a local table, an RDD, a cached frame made of these. The other ends with an exchange into the
user's own number, ``repartition(n)``, which adaptive execution keeps. Above either, a plan may only
have operators that keep partitions one to one.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame

from zoo.orca.driver.session.cluster import is_connect

#: Operators that keep their one child's partitions. Neither `coalesce` nor union is here: Spark
#: does not run them in a barrier stage.
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
#: Nodes that hold another plan which is not their child.
_WITHIN: dict[str, Callable[[Any], Any]] = {
    "AdaptiveSparkPlanExec": lambda plan: plan.initialPlan(),
    "InMemoryTableScanExec": lambda plan: plan.relation().cachedPlan(),
}
#: RDDs to look at; each costs a few calls to the JVM. A longer lineage counts as unknown.
_LONGEST_LINEAGE = 100
#: The origin of an exchange whose number of partitions is the user's and is kept.
_BY_NUMBER = "REPARTITION_BY_NUM"


def known_partitions(df: DataFrame) -> int | None:
    """Return the number of partitions of `df`, or None if only running it would tell."""
    if is_connect(df.sparkSession):
        return None
    # The public Python API has only df.rdd.getNumPartitions(), which runs the plan's exchanges.
    return _partitions(df._jdf.queryExecution().executedPlan())


def _partitions(plan: Any) -> int | None:
    while True:
        kind = plan.getClass().getSimpleName()
        if plan.subqueries().nonEmpty():
            return None  # a scan may wait for its subqueries
        if kind in _ONE_TO_ONE:
            plan = plan.children().head()
        elif kind in _WITHIN:
            plan = _WITHIN[kind](plan)
        elif kind in _SOURCES:
            return _same_all_along(plan.execute())  # makes an RDD, reads no row
        elif kind == "ShuffleExchangeExec" and plan.shuffleOrigin().toString() == _BY_NUMBER:
            return int(plan.outputPartitioning().numPartitions())
        else:
            return None


def _same_all_along(rdd: Any) -> int | None:
    """Return the number of an RDD's partitions, if its whole lineage in this stage has the same.

    The user's own RDD may be a union or may merge partitions, which a barrier stage cannot run.
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
