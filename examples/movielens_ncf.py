"""Trains neural collaborative filtering on movie ratings in a Spark DataFrame.

python examples/movielens_ncf.py [--framework tf2|keras|pytorch] [--ratings PATH] [--epochs N]
                                 [--batch-size N] [--workers N]

Without --ratings it downloads MovieLens 1M, or, where there is no network, draws ratings of the
same size and shape. See the quick start in the documentation for what each part does. The models
are in models_tf2.py, models_keras.py and models_pytorch.py.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.functions import rand
from ratings import RatingsError, find_ratings, write_colons
from report import draw_curves, epochs_table, table

from zoo.orca import OrcaContext
from zoo.orca.errors import OrcaError

FRAMEWORKS = ("tf2", "keras", "pytorch")


def run(options: argparse.Namespace) -> None:
    """Find ratings, train on them, and show what came of it."""
    ratings = find_ratings(options.ratings, options.rows, options.seed)
    rating_file = options.output / "ratings.txt"
    write_colons(ratings, rating_file)
    batch_size = options.batch_size

    train_data, test_data = read(str(rating_file))
    # Each framework is imported only where it is the one that was asked for.
    models = importlib.import_module(f"models_{options.framework}")
    config = {"max_user_id": highest(ratings, "user"), "max_item_id": highest(ratings, "item")}
    est = models.ncf_estimator(config, options.workers, options.seed)
    stats = est.fit(
        train_data,
        epochs=options.epochs,
        batch_size=batch_size,
        feature_cols=["user", "item"],
        label_cols=["label"],
        validation_data=test_data,
    )
    saved = est.save(os.path.join(options.output, "NCF.ckpt"))
    evaluation = est.evaluate(
        test_data,
        batch_size=batch_size,
        feature_cols=["user", "item"],
        label_cols=["label"],
    )
    predictions = predict_five(est, test_data, options.seed)
    est.shutdown()

    five = table(["user", "item", "predicted rating", "true rating"], predictions)
    print("", epochs_table(stats.history), evaluation_table(evaluation, ratings), five, sep="\n\n")
    print(f"\nThe trained model: {saved}")
    print(draw_curves(stats.history, options.output / "learning_curves.png"))


def read(rating_file: str) -> tuple[DataFrame, DataFrame]:
    """Return ratings to train on and ratings to test with."""
    spark = OrcaContext.get_spark_session()
    df = spark.read.csv(rating_file, sep=":", inferSchema=True).toDF(
        "user", "item", "label", "timestamp"
    )
    # Ratings go from 1 to 5, and the model's outputs are counted from 0.
    df = df.withColumn("label", df.label - 1)
    train_data, test_data = df.randomSplit([0.8, 0.2], 100)
    return train_data, test_data


def predict_five(est: Any, data: DataFrame, seed: int) -> list[list[int]]:
    """Return user, item, most likely rating and true rating of five rows."""
    five = data.orderBy(rand(seed)).limit(5)
    predicted = est.predict(five, feature_cols=["user", "item"])
    return [
        [row.user, row.item, int(np.argmax(row.prediction)) + 1, row.label + 1]
        for row in predicted.collect()
    ]


def evaluation_table(evaluation: dict[str, float], ratings: pa.Table) -> str:
    """Return the evaluation, and what a model that has learned nothing would come to."""
    often = max(count["counts"] for count in pc.value_counts(ratings["rating"]).to_pylist())
    guess = ["always the commonest rating: accuracy", often / ratings.num_rows]
    return table(["evaluation", "value"], [*map(list, evaluation.items()), guess])


def highest(ratings: pa.Table, column: str) -> int:
    """Return the largest number of a column."""
    return int(pc.max(ratings[column]).as_py())


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--framework", choices=FRAMEWORKS, default=FRAMEWORKS[0])
    add("--ratings", type=Path, metavar="PATH", help="MovieLens: '::', ':', tab or comma separated")
    add("--rows", type=int, metavar="N", help="draw N ratings instead of downloading any")
    add("--epochs", type=int, default=3)
    add("--batch-size", type=int, default=1280, help="rows of one step over all workers")
    add("--workers", type=int, help="one by default, with all cores")
    add("--output", type=Path, default=Path("build/movielens_ncf"), metavar="DIRECTORY")
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.ratings is not None and not options.ratings.is_file():
        parser.error(f"there is no file {options.ratings}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the example; return the exit code."""
    try:
        run(parse(arguments))
    except (OrcaError, RatingsError) as error:
        print(f"movielens_ncf: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
