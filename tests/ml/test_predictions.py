"""Spark ML's columns from a model's output, against numpy."""

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.errors import ColumnError, InvalidInputError, ModelError
from zoo.orca.ml.predictions import (
    check_new,
    class_columns,
    known_scale,
    number_column,
    only_output,
)
from zoo.orca.wire.outputs import OutputSpec

SCORES = np.array(
    [[1.0, 2.0, 3.0], [-1000.0, 0.0, 1000.0], [5.0, 5.0, 1.0], [-2.0, -1.0, -3.0]], np.float32
)


def output(*shape, scale=None, name="output_0"):
    return OutputSpec(name=name, dtype="float32", row_shape=shape, scale=scale)


def columns_of(spark, values, spec, scale):
    """Raw predictions, probabilities and predictions of a model's outputs."""
    if np.ndim(values) == 1:
        frame = spark.createDataFrame([(float(v),) for v in values], "output float")
    else:
        frame = spark.createDataFrame([(Vectors.dense(v),) for v in values], ["output"])
    raw, chances, classes = class_columns(F.col("output"), spec, scale)
    found = frame.select(raw.alias("raw"), chances.alias("p"), classes.alias("class"))
    kinds = [type(field.dataType) for field in found.schema.fields]
    assert kinds == [VectorUDT, VectorUDT, T.DoubleType]
    rows = found.collect()
    arrays = (np.array([row[k].toArray() for row in rows]) for k in ("raw", "p"))
    return (*arrays, [row["class"] for row in rows])


def softmax(values):
    powers = np.exp(values.astype(float) - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_logits_of_classes(spark):
    raw, chances, classes = columns_of(spark, SCORES, output(3), "logits")
    np.testing.assert_array_equal(raw, SCORES)
    np.testing.assert_allclose(chances, softmax(SCORES), rtol=1e-12)
    assert classes == [2, 2, 0, 1]


def test_probabilities_of_classes(spark):
    given = softmax(SCORES).astype(np.float32)
    raw, chances, classes = columns_of(spark, given, output(3), "probabilities")
    np.testing.assert_array_equal(raw, given)
    np.testing.assert_array_equal(chances, given)
    assert classes == [2, 2, 0, 1]


def test_logarithms_of_classes(spark):
    given = np.log(softmax(SCORES[[0, 3]])).astype(np.float32)
    raw, chances, classes = columns_of(spark, given, output(3), "logarithms")
    np.testing.assert_array_equal(raw, given)
    np.testing.assert_allclose(chances, np.exp(given.astype(float)), rtol=1e-12)
    assert classes == [2, 1]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_logit(spark, shape):
    logits = np.array([-800.0, -2.0, 0.0, 3.0, 40.0, 800.0])
    given = logits if shape == () else logits[:, None]
    raw, chances, classes = columns_of(spark, given, output(*shape), "logits")
    np.testing.assert_array_equal(raw, np.stack([-logits, logits], 1))
    with np.errstate(over="ignore"):
        expected = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], 1)
    np.testing.assert_allclose(chances, expected, rtol=1e-12)
    assert chances[4, 0] == pytest.approx(np.exp(-40.0)) and classes == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_probability(spark, shape):
    chance = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    given = chance if shape == () else chance[:, None]
    raw, chances, classes = columns_of(spark, given, output(*shape), "probabilities")
    np.testing.assert_array_equal(chances, np.stack([1 - chance, chance], 1))
    np.testing.assert_array_equal(raw, chances)
    assert classes == [0, 0, 0, 1, 1]


def test_softmax_of_many_classes_takes_time_in_proportion(spark):
    """What inner functions refer to is computed once a row, not once a number."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(20, 4000)).astype(np.float32)
    raw, chances, classes = columns_of(spark, given, output(4000), "logits")
    np.testing.assert_allclose(chances, softmax(given), rtol=1e-9)
    assert classes == np.argmax(given, axis=1).tolist()


def test_a_regressors_number(spark):
    frame = spark.createDataFrame([(Vectors.dense([2.5]), 1.5)], ["v", "f"])
    row = frame.select(
        number_column(F.col("v"), output(1), "stage"), number_column(F.col("f"), output(), "stage")
    ).first()
    assert tuple(row) == (2.5, 1.5)
    with pytest.raises(ModelError, match="has 3 numbers, and a prediction is one\n.*batch, 1"):
        number_column(F.col("v"), output(3), "KerasRegressorModel")


def test_what_no_stage_gives_is_refused():
    with pytest.raises(ModelError, match=r"has 2 outputs \['a', 'b'\].*\n.*predict"):
        only_output([output(3, name="a"), output(3, name="b")], "KerasClassifierModel")
    with pytest.raises(ModelError, match=r"the shape \(3, 4\)\n"):
        only_output([output(3, 4)], "KerasClassifierModel")


def test_the_scale_is_the_losss_unless_the_stage_says_it():
    assert known_scale(None, output(3, scale="logits"), "stage") == "logits"
    assert known_scale("probabilities", output(3, scale="logits"), "stage") == "probabilities"
    with pytest.raises(InvalidInputError, match="does not say.*\n.*setOutputScale.'logits'."):
        known_scale(None, output(3), "stage")
    with pytest.raises(InvalidInputError, match="has one number a row\n"):
        known_scale("logarithms", output(1), "stage")


def test_columns_that_are_there_are_refused(spark):
    frame = spark.range(1).withColumn("Prediction", F.lit(1.0))
    with pytest.raises(ColumnError, match="already has a column 'prediction'\n.*setPredictionCol"):
        check_new(frame, {"predictionCol": "prediction"})
    with pytest.raises(ColumnError, match="probabilityCol"):
        check_new(frame, {"rawPredictionCol": "p", "probabilityCol": "P"})
    check_new(frame, {"predictionCol": "other"})
