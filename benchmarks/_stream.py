"""Trains a small model on rows that Spark generates, once for each budget; prints one JSON line.

python benchmarks/_stream.py --rows N --budgets 256m [--epochs 1] [--workers 1] [--batch-size B]

For each budget in turn the line has the moments, in seconds since 1970, at which the call began,
the first epoch began, each epoch ended, and the call ended; of several workers, the slowest's.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

USERS, ITEMS = 1_000_000, 100_000


def model_creator(config: dict[str, Any]) -> Any:
    """Return a model so small that feeding it is most of the work."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = [tf.keras.Input((1,), name=name, dtype="int32") for name in ("user", "item")]
    scaled = [
        layers.Rescaling(1 / size)(one) for one, size in zip(inputs, (USERS, ITEMS), strict=True)
    ]
    hidden = layers.Dense(16, "relu")(layers.Concatenate()(scaled))
    model = tf.keras.Model(inputs, layers.Dense(5, "softmax")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def make_clock(directory: str) -> Any:
    """Return a callback that writes when training began and each epoch ended, to its own file."""
    import tensorflow as tf

    class Clock(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                self.moments = [time.time()]

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.moments.append(time.time())

        def on_train_end(self, logs: Any = None) -> None:
            Path(directory, f"{os.getpid()}.json").write_text(json.dumps(self.moments))

    return Clock()


def generated(spark: Any, rows: int) -> Any:
    """Return a DataFrame of three columns of ints."""
    from pyspark.sql import functions as F

    def ints(salt: int, size: int) -> Any:
        return F.pmod(F.xxhash64("id", F.lit(salt)), F.lit(size)).cast("int")

    columns = {"user": ints(1, USERS), "item": ints(2, ITEMS), "label": ints(3, 5)}
    return spark.range(rows).select(*(column.alias(name) for name, column in columns.items()))


def fit(frame: Any, options: argparse.Namespace) -> list[float]:
    """Train once; return the moments."""
    from zoo.orca.learn.tf2 import Estimator

    estimator = Estimator.from_keras(model_creator=model_creator, num_workers=options.workers)
    with tempfile.TemporaryDirectory() as clocks:
        began = time.time()
        estimator.fit(
            frame,
            epochs=options.epochs,
            batch_size=options.batch_size,
            feature_cols=["user", "item"],
            label_cols=["label"],
            verbose=0,
            callbacks=[make_clock(clocks)],
        )
        ended = time.time()
        told = [json.loads(path.read_text()) for path in Path(clocks).iterdir()]
    estimator.shutdown()
    return [began, *map(max, zip(*told, strict=True)), ended]


def main() -> None:
    """Run the fits in one session."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--budgets", nargs="+", required=True)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=65536)
    options = parser.parse_args()
    from zoo.orca import OrcaContext, init_orca_context, stop_orca_context

    init_orca_context("local", cores=2, memory="2g")
    spark = OrcaContext.get_spark_session()
    frame, runs = generated(spark, options.rows), []
    for budget in options.budgets:
        spark.conf.set("spark.orca.data.memory", budget)
        runs.append(fit(frame, options))
    stop_orca_context()
    print(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main()
