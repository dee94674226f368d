"""Trains neural collaborative filtering on movie ratings in a Spark DataFrame.

python examples/movielens_ncf.py [--ratings PATH] [--epochs N] [--batch-size N] [--workers N]

Without --ratings it downloads MovieLens 1M, or, where there is no network, draws ratings of the
same size and shape. See the quick start in the documentation for what each part does.
"""

import argparse
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
from zoo.orca.learn.tf2 import Estimator

FEATURES, LABELS = ["user", "item"], ["label"]


def model_creator(config: dict[str, Any]) -> Any:
    """Return the compiled model: matrix factorization beside a small perceptron."""
    import tensorflow as tf
    from tensorflow import keras

    embedding_size = 16
    user = keras.layers.Input(dtype=tf.int32, shape=(None,))
    item = keras.layers.Input(dtype=tf.int32, shape=(None,))
    users, items = config["max_user_id"] + 1, config["max_item_id"] + 1

    with tf.name_scope("GMF"):
        user_embed_GMF = keras.layers.Embedding(users, embedding_size)(user)
        item_embed_GMF = keras.layers.Embedding(items, embedding_size)(item)
        GMF = keras.layers.Multiply()([user_embed_GMF, item_embed_GMF])

    with tf.name_scope("MLP"):
        user_embed_MLP = keras.layers.Embedding(users, embedding_size)(user)
        item_embed_MLP = keras.layers.Embedding(items, embedding_size)(item)
        interaction = tf.concat([user_embed_MLP, item_embed_MLP], axis=-1)
        layer1_MLP = keras.layers.Dense(units=embedding_size * 2, activation="relu")(interaction)
        layer1_MLP = keras.layers.Dropout(rate=0.2)(layer1_MLP)
        layer2_MLP = keras.layers.Dense(units=embedding_size, activation="relu")(layer1_MLP)
        layer2_MLP = keras.layers.Dropout(rate=0.2)(layer2_MLP)
        layer3_MLP = keras.layers.Dense(units=embedding_size // 2, activation="relu")(layer2_MLP)
        layer3_MLP = keras.layers.Dropout(rate=0.2)(layer3_MLP)

    # Concatenate the two parts.
    with tf.name_scope("concatenation"):
        concatenation = tf.concat([GMF, layer3_MLP], axis=-1)
        outputs = keras.layers.Dense(units=5, activation="softmax")(concatenation)

    model = keras.Model(inputs=[user, item], outputs=outputs)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def run(options: argparse.Namespace) -> None:
    """Find ratings, train on them, and show what came of it."""
    ratings = find_ratings(options.ratings, options.rows, options.seed)
    rating_file = options.output / "ratings.txt"
    write_colons(ratings, rating_file)
    rows, batch_size = ratings.num_rows, options.batch_size

    train_data, test_data = read(str(rating_file))
    est = Estimator.from_keras(
        model_creator=model_creator,
        config={"max_user_id": highest(ratings, "user"), "max_item_id": highest(ratings, "item")},
        num_workers=options.workers,
        seed=options.seed,
    )
    stats = est.fit(
        train_data,
        epochs=options.epochs,
        batch_size=batch_size,
        feature_cols=["user", "item"],
        label_cols=["label"],
        steps_per_epoch=batches(0.8 * rows, batch_size),
        validation_data=test_data,
        validation_steps=batches(0.2 * rows, batch_size),
    )
    saved = est.save(os.path.join(options.output, "NCF.ckpt"))
    evaluation = est.evaluate(
        test_data,
        batch_size=batch_size,
        feature_cols=["user", "item"],
        label_cols=["label"],
        num_steps=batches(0.1 * rows, batch_size),
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


def predict_five(est: Estimator, data: DataFrame, seed: int) -> list[list[int]]:
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


def batches(rows: float, batch_size: int) -> int:
    """Return the whole batches in so many rows, and one at least."""
    return max(1, int(rows) // batch_size)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
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
