"""Finds machines that will fail: an array column, a vector column, a category, and few failures.

python examples/tabular.py [--framework tf2|keras|pytorch] [--rows N] [--epochs N] [--workers N]

Spark makes the rows up: eight readings of a machine (an array), its age, load and service record
(assembled into a vector by Spark ML), and its site (a string, indexed by Spark ML). About six in a
hundred fail, so rows of the rare class weigh more in training. The models are in models_tf2.py,
models_keras.py and models_pytorch.py.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.feature import StringIndexer, VectorAssembler
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from report import draw_roc, epochs_table, table

from zoo.orca import OrcaContext
from zoo.orca.errors import OrcaError

FRAMEWORKS = ("tf2", "keras", "pytorch")
READINGS, PROFILE = 8, ("age", "load", "services")
SITES = {"Aba": 0.9, "Bonn": -0.6, "Cork": 0.0, "Dili": 1.3, "Evora": -1.0, "Fes": 0.4}
FEATURES = ["readings", "profile", "site_index"]
COLUMNS: dict[str, Any] = {"feature_cols": FEATURES, "label_cols": ["label"]}


def run(options: argparse.Namespace) -> None:
    """Make rows, train on them, and show what came of it."""
    spark = OrcaContext.get_spark_session()
    train, test, config = prepare(make_rows(spark, options.rows, options.seed), options.seed)

    # Each framework is imported only where it is the one that was asked for.
    models = importlib.import_module(f"models_{options.framework}")
    est = models.tabular_estimator(config, options.workers, options.seed)
    stats = est.fit(
        train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation_data=test,
        sample_weight_col="weight",
        **COLUMNS,
    )
    evaluation = est.evaluate(test, batch_size=options.batch_size, **COLUMNS)
    predicted = est.predict(test, feature_cols=FEATURES).select("label", "prediction").collect()
    est.shutdown()

    labels = np.array([row.label for row in predicted])
    # A model's output of shape (batch, 1) is a Vector in each row, one of (batch,) a number.
    scores = np.array([np.ravel(row.prediction)[0] for row in predicted])
    false, true, area = roc(labels, scores)
    shown = [*map(list, evaluation.items()), ["area under the ROC curve, exactly", area]]
    print("", epochs_table(stats.history), table(["evaluation", "value"], shown), sep="\n\n")
    print("", alarms_table(labels, scores), "", sep="\n")
    options.output.mkdir(parents=True, exist_ok=True)
    print(draw_roc(list(false), list(true), area, options.output / f"roc_{options.framework}.png"))


def make_rows(spark: SparkSession, rows: int, seed: int) -> DataFrame:
    """Return machines, one a row, and whether each failed."""

    def normal(number: int) -> Column:
        return F.randn(1000 * seed + number)

    names = F.array(*map(F.lit, SITES))
    effects = F.array(*map(F.lit, SITES.values()))
    place = (F.rand(1000 * seed + 99) * len(SITES)).cast("int")
    df = spark.range(rows, numPartitions=2).select(
        "id",
        F.array(*(normal(i).cast("float") for i in range(READINGS))).alias("readings"),
        F.abs(normal(20)).alias("age"),
        F.rand(1000 * seed + 21).alias("load"),
        F.floor(4 * F.rand(1000 * seed + 22)).alias("services"),
        place.alias("place"),
    )
    reading = F.col("readings")
    # Two readings matter together, one matters by how far off it is, and most do not matter.
    score = (
        1.2 * reading[0] * reading[1]
        + 0.9 * F.abs(reading[2])
        + 1.5 * F.col("age") * F.col("load")
        - 0.5 * F.col("services")
        + effects[F.col("place")]
        - 4.6
    )
    chance = 1 / (1 + F.exp(-score))
    failed = (F.rand(1000 * seed + 30) < chance).cast("int")
    # Random columns are computed anew in each plan, in other partitions with other numbers.
    return df.select("*", names[F.col("place")].alias("site"), failed.alias("label")).cache()


def prepare(df: DataFrame, seed: int) -> tuple[DataFrame, DataFrame, dict[str, int]]:
    """Return rows to train on and to test with, and what the model must know of their columns."""
    df = VectorAssembler(inputCols=list(PROFILE), outputCol="profile").transform(df)
    train, test = df.randomSplit([0.8, 0.2], seed)
    # "keep": a site that training has never seen gets a number of its own, the last one.
    indexer = StringIndexer(inputCol="site", outputCol="site_index", handleInvalid="keep")
    sites = indexer.fit(train)
    counts = {row["label"]: row["count"] for row in train.groupBy("label").count().collect()}
    if len(counts) < 2:
        raise SystemExit("all machines of the training rows fare alike: ask for more --rows")
    # Both classes weigh the same in sum, and a row weighs 1 on average.
    weigh = {label: sum(counts.values()) / (2 * count) for label, count in counts.items()}
    weight = F.when(F.col("label") == 1, weigh[1]).otherwise(weigh[0])

    def ready(part: DataFrame) -> DataFrame:
        indexed = sites.transform(part).withColumn("site_index", F.col("site_index").cast("int"))
        return indexed.withColumn("weight", weight)

    config = {"readings": READINGS, "profile": len(PROFILE), "sites": len(sites.labels) + 1}
    return ready(train), ready(test), config


def roc(
    labels: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return shares of false and of true alarms for every threshold, and the area below."""
    order = np.argsort(-scores, kind="stable")
    hits = labels[order] == 1
    # Rows with the same score are told apart by no threshold.
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    true = np.concatenate([[0], np.cumsum(hits)[ends]]) / max(1, hits.sum())
    false = np.concatenate([[0], np.cumsum(~hits)[ends]]) / max(1, (~hits).sum())
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def alarms_table(labels: NDArray[Any], scores: NDArray[Any]) -> str:
    """Return what raising the alarm for the highest scores would find."""
    order = np.argsort(-scores, kind="stable")
    rows = []
    for share in (0.02, 0.05, 0.1, 0.2, 0.5):
        raised = order[: max(1, round(share * len(labels)))]
        found = int(labels[raised].sum())
        rows.append([f"{share:.0%}", found, found / max(1, labels.sum()), found / len(raised)])
    return table(["alarms", "failures found", "of all failures", "right alarms"], rows)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--framework", choices=FRAMEWORKS, default=FRAMEWORKS[0])
    add("--rows", type=int, default=100_000)
    add("--epochs", type=int, default=5)
    add("--batch-size", type=int, default=512, help="rows of one step over all workers")
    add("--workers", type=int, help="one by default, with all cores")
    add("--output", type=Path, default=Path("build/tabular"), metavar="DIRECTORY")
    add("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; return the exit code."""
    try:
        run(parse(arguments))
    except OrcaError as error:
        print(f"tabular: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
