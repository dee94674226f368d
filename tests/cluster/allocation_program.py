"""What the tests run on a cluster whose executors come and go.

allocation_program.py SOURCE ROOT MASTER

Two executors of one slot each always stay. Prints one JSON line: what came of each call.
"""

import json
import sys

SOURCE, ROOT, MASTER = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, ROOT]

from tests.cluster import sessions  # noqa: E402
from tests.fake_estimator import FakeEstimator, linear  # noqa: E402
from zoo.orca import OrcaContext, stop_orca_context  # noqa: E402
from zoo.orca.errors import ContextError  # noqa: E402

CONF = {
    "spark.dynamicAllocation.enabled": True,
    "spark.dynamicAllocation.minExecutors": 2,
    "spark.dynamicAllocation.maxExecutors": 2,
}


def refused(call):
    """Return the error of a call."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def same(batches):
    yield from batches


def main():
    sessions.start(MASTER, CONF)
    spark = OrcaContext.get_spark_session()
    data = spark.range(100).selectExpr("id / 100.0D AS x", "id / 50.0D AS y").repartition(3)

    def plainly():
        # What Spark itself says to a barrier stage, with no word of Orca's.
        spark.range(0, 2, 1, 2).mapInArrow(same, "id bigint", barrier=True).collect()

    def fit(workers):
        estimator = FakeEstimator.of(linear(1), workers)
        estimator.fit(data, epochs=2)
        return float(estimator.weights[0])

    answer = {"before": refused(plainly)}
    # The executors may be on their way still.
    answer["two"] = fit(2)
    answer["as many as stay"] = FakeEstimator.of(linear(1), None).num_workers
    answer["one"] = fit(1)
    answer["three"] = refused(lambda: fit(3))
    answer["after"] = refused(plainly)
    assert answer["three"].startswith(ContextError.__name__)
    stop_orca_context()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
