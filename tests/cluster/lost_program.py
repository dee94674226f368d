"""A fit whose executor is lost: the driver's side of `test_lost_executor`.

lost_program.py SOURCE TESTS MASTER DIRECTORY CONF

The model is the linear one in numpy. CONF is a JSON object of Spark's settings. Prints one JSON
line.
"""

import json
import sys
import time
from pathlib import Path

SOURCE, ROOT, MASTER, DIRECTORY, CONF = sys.argv[1:]
sys.path[:0] = [SOURCE, ROOT]

from pyspark.sql import SparkSession  # noqa: E402

from tests.cluster.sessions import start  # noqa: E402
from tests.fake_estimator import FakeEstimator  # noqa: E402
from zoo.orca import stop_orca_context  # noqa: E402
from zoo.orca.frameworks.fake import LinearModel  # noqa: E402


def creator(config):
    """Return a model whose every step takes a while, so that there is time to lose an executor."""

    def on_step(rank, step):
        time.sleep(0.1)

    return LinearModel(features=1, rate=0.1, on_step=on_step)


def main():
    start(MASTER, json.loads(CONF))
    spark = SparkSession.builder.getOrCreate()
    rows = spark.range(0, 1000, 1, 7).selectExpr(
        "cast(id as float) / 1000 x", "cast(id as float) y"
    )
    answers = []
    for run in ("lost", "unbroken"):
        estimator = FakeEstimator.of(creator, 2)
        stats = estimator.fit(rows, epochs=8, batch_size=100, run=run, model_dir=DIRECTORY)
        answers.append({"weights": estimator.weights.tolist(), "history": stats.history})
        Path(DIRECTORY, f"{run}-done").touch()
    stop_orca_context()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
