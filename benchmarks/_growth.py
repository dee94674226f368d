"""Fits a small model on more and more rows in one session, and prints the seconds as JSON.

python benchmarks/_growth.py --rows N ... --rounds N [--workers N] [--batch N]
"""

import argparse
import json
import time
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import col, xxhash64

from zoo.orca import OrcaContext, init_orca_context, stop_orca_context
from zoo.orca.learn.tf2 import Estimator

FEATURES, LABEL = ["x", "y", "z"], "label"


def model_creator(config: dict[str, Any]) -> Any:
    """Return a small perceptron of three numbers."""
    from tensorflow import keras

    inputs = [keras.Input((1,)) for _ in FEATURES]
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile(optimizer="sgd", loss="mse")
    return model


def frame(spark: SparkSession, rows: int) -> DataFrame:
    """Return rows that Spark makes up as they are read, so that no file's reading is measured."""
    numbers = [
        (xxhash64(col("id") * len(FEATURES) + place) % 1000 / 1000).cast("float").alias(name)
        for place, name in enumerate(FEATURES)
    ]
    made = spark.range(rows).select(*numbers)
    return made.withColumn(LABEL, col("x") * col("y") + col("z"))


def fit(spark: SparkSession, rows: int, options: argparse.Namespace) -> float:
    """Return the seconds of one `fit` of one epoch."""
    est = Estimator.from_keras(model_creator=model_creator, num_workers=options.workers)
    data = frame(spark, rows)
    began = time.perf_counter()
    est.fit(
        data,
        epochs=1,
        batch_size=options.batch,
        verbose=0,
        feature_cols=FEATURES,
        label_cols=[LABEL],
    )
    seconds = time.perf_counter() - began
    est.shutdown()
    return seconds


def main() -> None:
    """Fit every size in every round, the order turned round in every second one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=65_536)
    options = parser.parse_args()
    init_orca_context("local", cores=options.workers, memory="2g")
    spark = OrcaContext.get_spark_session()
    # Spark's code and the framework are loaded once, and that is no matter of rows.
    fit(spark, min(options.rows), options)
    runs = []
    for number in range(1, options.rounds + 1):
        for rows in options.rows[:: 1 if number % 2 else -1]:
            runs.append({"round": number, "rows": rows, "seconds": fit(spark, rows, options)})
    stop_orca_context()
    print(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main()
