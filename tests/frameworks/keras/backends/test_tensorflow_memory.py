"""Predictions of Keras models: the same however many rows are taken at once."""

from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import DenseVector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from zoo.orca.frameworks.common.row_budget import FEWEST_ROWS, MOST_ROWS
from zoo.orca.learn.tf2 import Estimator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"


def model_creator(config: dict[str, Any]) -> Any:
    """Two embeddings and three outputs: a float, a Vector and an array of arrays for each row."""
    import tensorflow as tf
    import tf_keras as keras

    user, item = (keras.Input((1,), dtype="int32") for _ in range(2))
    factors = [keras.layers.Embedding(50, 8)(one) for one in (user, item)]
    both = keras.layers.Concatenate()(factors)
    flat = keras.layers.Flatten()(both)
    outputs = [
        keras.layers.Lambda(lambda x: tf.reduce_sum(x, -1))(flat),
        keras.layers.Dense(5, activation="softmax")(flat),
        keras.layers.Dense(2)(both),
    ]
    return keras.Model([user, item], outputs)


def test_any_batch_size_and_any_arrow_batch(spark: SparkSession) -> None:
    rows = 3003
    frame = spark.range(0, rows, 1, 2).select(
        "id", (F.col("id") % 50).cast("int").alias("user"), (F.col("id") % 37).alias("item")
    )
    est = Estimator.from_keras(model_creator=model_creator)
    features = ["user", "item"]
    est.predict(frame, feature_cols=features)  # builds the model
    ids = np.arange(rows)[:, None]
    expected = est.get_model().predict([ids % 50, ids % 37], verbose=0)
    before = spark.conf.get(_ARROW_ROWS)
    try:
        for arrow_rows, batch_size in [(10_000, None), (700, None), (999, 1000), (10_000, 50)]:
            spark.conf.set(_ARROW_ROWS, arrow_rows)
            predicted = est.predict(frame, batch_size=batch_size, feature_cols=features)
            found = predicted.collect()
            assert [row.id for row in found] == list(range(rows))
            assert isinstance(found[0].prediction_1, DenseVector)
            for index, values in enumerate(expected):
                column = [row[f"prediction_{index}"] for row in found]
                mine = [v.toArray() for v in column] if index == 1 else column
                np.testing.assert_allclose(np.array(mine), values, rtol=1e-5, atol=1e-6)
    finally:
        spark.conf.set(_ARROW_ROWS, before)


@pytest.mark.parametrize("width", [1, 64, 4096])
def test_rows_at_once_are_as_many_as_memory_allows(width: int) -> None:
    import tensorflow as tf

    from zoo.orca.frameworks.keras.backends.tensorflow_memory import rows_at_once

    signature = [tf.TensorSpec((None, width), tf.float32)]
    traced = tf.function(lambda x: tf.nn.relu(x) + 1.0, input_signature=signature)
    rows = rows_at_once(traced.get_concrete_function())
    # Three tensors or four, by whether the returned one counts twice.
    least, most = (256 << 20) // (4 * 4 * width), (256 << 20) // (3 * 4 * width)
    assert max(FEWEST_ROWS, min(least, MOST_ROWS)) <= rows <= min(most, MOST_ROWS)


def test_rows_at_once_where_little_is_known() -> None:
    import tensorflow as tf

    from zoo.orca.frameworks.keras.backends.tensorflow_memory import rows_at_once

    assert rows_at_once(None) == FEWEST_ROWS

    def hidden(x: Any) -> Any:
        shaped = tf.reshape(x, tf.concat([tf.shape(x)[:1], [-1]], 0))
        return tf.reshape(shaped * 2.0, tf.shape(x))

    def shown(x: Any) -> Any:
        return x * 2.0

    signature = [tf.TensorSpec((None, 1 << 20), tf.float32)]
    rows = [
        rows_at_once(tf.function(f, input_signature=signature).get_concrete_function())
        for f in (shown, hidden)
    ]
    # What cannot be read off the graph counts like the largest tensor that can.
    assert FEWEST_ROWS <= rows[1] <= rows[0] <= 64


def retrieval(config: dict[str, Any]) -> Any:
    """An id beyond what a float holds, its name, whether it is the first, and a double."""
    import tensorflow as tf
    import tf_keras as keras

    query = keras.Input((3,))
    ids = tf.constant([16777217, 1099511627777, 7], tf.int64)
    names = tf.constant(["größe", "b", ""])
    best = keras.layers.Lambda(lambda x: tf.argmax(x, 1))(query)
    outputs = {
        "id": keras.layers.Lambda(lambda best: tf.gather(ids, best))(best),
        "name": keras.layers.Lambda(lambda best: tf.gather(names, best))(best),
        "first": keras.layers.Lambda(lambda best: best == 0)(best),
        "score": keras.layers.Lambda(lambda x: tf.cast(tf.reduce_max(x, 1), tf.float64))(query),
        "order": keras.layers.Lambda(lambda x: tf.argsort(x))(query),
    }
    return keras.Model(query, outputs)


def test_outputs_keep_their_types_and_values(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [([0.5, 0.1, 0.2],), ([0.0, 2.0, 1.0],), ([0.0, 1.0, 3.5],)], ["x"]
    )
    predicted = Estimator.from_keras(model_creator=retrieval).predict(frame, feature_cols=["x"])
    assert [(field.name, field.dataType.simpleString()) for field in predicted.schema[1:]] == [
        ("prediction_first", "boolean"),
        ("prediction_id", "bigint"),
        ("prediction_name", "string"),
        ("prediction_order", "array<int>"),
        ("prediction_score", "double"),
    ]
    assert [tuple(row)[1:] for row in predicted.collect()] == [
        (True, 16777217, "größe", [1, 2, 0], 0.5),
        (False, 1099511627777, "b", [0, 2, 1], 2.0),
        (False, 7, "", [0, 1, 2], 3.5),
    ]


def _reads(layers: Any) -> bool:
    import tensorflow as tf

    from zoo.orca.frameworks.keras.backends.tensorflow_memory import only_reads

    signature = [tf.TensorSpec((None, 3), tf.float32)]
    return only_reads(tf.function(layers, input_signature=signature).get_concrete_function())


def test_a_graph_that_writes_draws_or_calls_python_is_not_one_that_only_reads() -> None:
    import tensorflow as tf
    import tf_keras as keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    count = tf.Variable(0)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.range(3), tf.range(3)), -1
    )
    nested = tf.function(model)
    assert _reads(model) and _reads(nested)
    assert _reads(lambda x: table.lookup(tf.cast(x, tf.int32)))
    assert _reads(lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: nested(x), lambda: nested(-x)))

    def counts(x: Any) -> Any:
        count.assign_add(1)
        return x

    assert not _reads(counts) and not _reads(tf.function(counts))
    assert not _reads(lambda x: tf.cond(x[0, 0] > 0, lambda: counts(x), lambda: x))
    assert not _reads(lambda x: x + tf.random.uniform((3,)))
    assert not _reads(lambda x: tf.py_function(lambda y: y, [x], tf.float32))
