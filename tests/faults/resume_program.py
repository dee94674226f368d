"""A program that trains with checkpoints and writes what it got; to be killed and started again.

Arguments: a directory for checkpoints, a file for the result, and the number of workers.
"""

import json
import sys
import time
from pathlib import Path

from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca import init_orca_context

#: 12 steps an epoch, the last one smaller.
ROWS, BATCH, EPOCHS = 180, 16, 8


def slowly(rank: int, step: int) -> None:
    """Give whoever kills this program the time for it."""
    time.sleep(0.02)


def main(model_dir: str, result: str, workers: str) -> None:
    """Train, or go on with training, and write the result."""
    context = init_orca_context("local", cores=2, memory="1g", conf={"spark.ui.enabled": "false"})
    spark = getattr(context, "sparkSession", None) or context
    rows = spark.range(0, ROWS, 1, 3).select(
        (F.col("id") % 17 / 17 - 0.5).alias("x"), (F.col("id") % 23 / 23).alias("y")
    )
    estimator = FakeEstimator.of(linear(1, on_step=slowly), int(workers), model_dir=model_dir)
    print("training", flush=True)
    stats = estimator.checked_fit(
        rows, epochs=EPOCHS, batch_size=BATCH, validation=rows, checkpoint_steps=2, resume=True
    )
    told = {"weights": estimator.weights.tolist(), "history": stats.history}
    Path(result).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
