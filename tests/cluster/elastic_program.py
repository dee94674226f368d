"""Fits that lose executors for good and get them back: the driver's side of `test_elastic`.

elastic_program.py SOURCE TESTS MASTER DIRECTORY

The model is the linear one in numpy. Each step leaves a file that names the run, the step and the
rank, in DIRECTORY/steps. Prints what the driver says, and JSON lines: one for each fit.
"""

import json
import logging
import sys
import time
from pathlib import Path

SOURCE, ROOT, MASTER, DIRECTORY = sys.argv[1:]
# Not by PYTHONPATH: Spark would pass that on.
sys.path[:0] = [SOURCE, ROOT]

from pyspark.sql import SparkSession  # noqa: E402

from tests.cluster.sessions import start  # noqa: E402
from tests.fake_estimator import FakeEstimator  # noqa: E402
from zoo.orca import stop_orca_context  # noqa: E402
from zoo.orca.driver.session.cluster import slots  # noqa: E402
from zoo.orca.errors import SlotsError  # noqa: E402
from zoo.orca.frameworks.fake import LinearModel  # noqa: E402

#: Steps at which runs wait for a file of their name: what is done to the cluster comes before.
GATES = {"back": (15, 35, 45), "refused": (15,), "alone": (5,)}


def creator_of(run, directory, gates):
    """Return a creator of a model whose steps take a while, and leave files."""

    def creator(config):
        def on_step(rank, step):
            time.sleep(0.03)
            Path(directory, "steps", f"{run}-{step:03d}-{rank}").touch()
            for gate in gates:
                while step >= gate and not Path(directory, f"{run}-{gate}.go").exists():
                    time.sleep(0.05)

        return LinearModel(features=2, rate=0.1, on_step=on_step)

    return creator


def held(run, directory):
    """Return what hands on rows of a DataFrame, once a file of the run's name is there."""

    def hold(batches):
        for batch in batches:
            Path(directory, "steps", f"{run}-000-rows").touch()
            while not Path(directory, f"{run}-0.go").exists():
                time.sleep(0.05)
            yield batch

    return hold


def fit(rows, run, workers=2, **engine):
    """Fit once there are slots; print what came of it and when."""
    while slots(rows.sparkSession) < workers:
        time.sleep(0.1)
    estimator = FakeEstimator.of(creator_of(run, DIRECTORY, GATES.get(run, ())), workers, **engine)
    answer = {"run": run}
    try:
        stats = estimator.fit(
            rows,
            features=["x", "z"],
            epochs=6,
            batch_size=90,  # the last batch of a pass is smaller
            steps_per_epoch=10,  # epochs end within a pass
            run=run,
            model_dir=DIRECTORY,
            name=run,
            verbose=1,
        )
        answer |= {"weights": estimator.weights.tolist(), "loss": stats.history["loss"]}
        answer |= {"order": stats.order}
    except SlotsError as error:
        answer |= {"error": str(error)}
    print(json.dumps(answer | {"at": time.time()}), flush=True)


def main():
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    logging.getLogger("zoo.orca.driver.elastic.watch").setLevel(logging.INFO)
    start(MASTER, {"spark.orca.elastic.patience": "2s"})
    spark = SparkSession.builder.getOrCreate()
    rows = spark.range(0, 1000, 1, 2).selectExpr(
        "cast(id as float) / 1000 x", "cast(id % 7 as float) / 7 z", "cast(id as float) / 300 y"
    )
    fit(rows, "unbroken", min_workers=1, model_dir=DIRECTORY)
    fit(rows, "back", min_workers=1, model_dir=DIRECTORY)
    moving = rows.mapInArrow(held("moving", DIRECTORY), rows.schema)
    fit(moving, "moving", min_workers=1, model_dir=DIRECTORY)
    fit(rows, "refused", min_workers=2, model_dir=DIRECTORY)
    fit(rows, "alone", workers=1)
    stop_orca_context()


if __name__ == "__main__":
    main()
