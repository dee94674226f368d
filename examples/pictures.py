"""Tells circles from crosses: pictures as bytes in a DataFrame, decoded and varied on the workers.

python examples/pictures.py [--rows N] [--epochs N] [--workers N]

Pillow draws the pictures as PNG files. `batch_transform` decodes them where they are trained on
and, in training, turns each one around anew in every epoch. The model is Keras on TensorFlow.
"""

import argparse
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from zoo.orca import OrcaContext
from zoo.orca.learn.tf2 import Estimator

SIDE = 24


def run(options: argparse.Namespace) -> None:
    """Draw pictures, train on them, and count what is told right."""
    spark = OrcaContext.get_spark_session()
    train, test = make_rows(spark, options.rows).randomSplit([0.8, 0.2], seed=1)
    est = Estimator.from_keras(
        model_creator=cnn, batch_transform=decoded, num_workers=options.workers
    )
    est.fit(
        train,
        epochs=options.epochs,
        batch_size=32,
        feature_cols=["png"],
        label_cols=["is_cross"],
        verbose=0,
    )
    told = est.predict(test).withColumn("said", vector_to_array("prediction")[0] > 0.5)
    right = told.select(F.avg((F.col("said").cast("int") == F.col("is_cross")).cast("int")))
    print(f"right: {right.first()[0]:.2f}")
    est.shutdown()


def make_rows(spark: SparkSession, rows: int) -> DataFrame:
    """Return pictures, one a row: the bytes of a PNG file, and 1 for a cross."""
    random = np.random.default_rng(0)
    drawn = [(draw(random, number % 2), number % 2) for number in range(rows)]
    return spark.createDataFrame(drawn, "png binary, is_cross int")


def draw(random: np.random.Generator, is_cross: int) -> bytes:
    """Return the bytes of a picture of a circle or a cross, somewhere, of some size."""
    picture = Image.new("L", (SIDE, SIDE), int(random.integers(0, 60)))
    pen = ImageDraw.Draw(picture)
    size = int(random.integers(8, 14))
    left, top = (int(one) for one in random.integers(1, SIDE - size - 1, 2))
    box, light = (left, top, left + size, top + size), int(random.integers(150, 256))
    if is_cross:
        pen.line(box, light, 2)
        pen.line((left, top + size, left + size, top), light, 2)
    else:
        pen.ellipse(box, outline=light, width=2)
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()


def decoded(columns: dict[str, Any], training: bool, random: np.random.Generator) -> dict[str, Any]:
    """Make arrays of numbers of PNG files; in training, each is mirrored or turned by chance."""
    pictures = [np.asarray(Image.open(io.BytesIO(png))) for png in columns.pop("png")]
    if training:
        pictures = [np.rot90(one, random.integers(4)) for one in pictures]
        pictures = [one[:, :: random.choice([-1, 1])] for one in pictures]
    columns["pixels"] = np.stack(pictures)[..., None] / np.float32(255)
    return columns


def cnn(config: dict[str, Any]) -> Any:
    """Return a small convolutional network."""
    from tensorflow import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Conv2D(8, 3, 2, activation="relu"),
            layers.Conv2D(16, 3, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy")
    return model


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    run(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
