"""Rows with labels as Spark ML has them."""

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="session")
def table(spark: SparkSession) -> DataFrame:
    """Vectors of four numbers; a class of three and one of two, a size, as doubles."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(203, 4))
    kind = np.argmax(x[:, :3], axis=1).astype(float)
    rows = [
        (
            n,
            Vectors.dense(row),
            [float(number) for number in row],
            *(float(number) for number in row[:2]),
            float(kind[n]),
            float(row[0] > 0),
            float(row @ [1.0, -2.0, 0.5, 0.0] + 3),
            1.0 + n % 2,
            n % 5 == 0,
        )
        for n, row in enumerate(x)
    ]
    names = "id features list a b kind two size weight held".split()
    # In one partition: each task of `predict` would import a framework of its own.
    return spark.createDataFrame(rows, names).coalesce(1).cache()
