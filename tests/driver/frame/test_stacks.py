"""Columns stacked into one input: the same rows as an array column has, in training and predict."""

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.frame.source import column_names, prepare, read_spec
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.wire.features import ColumnSpec

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    """Numbers of several types, an array and a Vector."""
    found = [
        (n, float(n) / 7, n % 2 == 0, [n / 3, n / 5], Vectors.dense(n / 11, 1.0), n * 0.5)
        for n in range(40)
    ]
    schema = "n int, x double, flag boolean, pair array<double>, v udt, y double"
    return spark.createDataFrame(found, [field.split()[0] for field in schema.split(", ")])


@pytest.mark.parametrize(
    ("columns", "spec"),
    [
        (["x"], ColumnSpec(name="[x]", dtype="float32", shape=(1,), parts=("x",))),
        (
            ["n", "flag"],
            ColumnSpec(name="[n, flag]", dtype="int64", shape=(2,), parts=("n", "flag")),
        ),
        (
            ["flag", "flag"],
            ColumnSpec(name="[flag, flag]", dtype="bool", shape=(2,), parts=("flag", "flag")),
        ),
        (
            ["n", "pair"],
            ColumnSpec(name="[n, pair]", dtype="float32", shape=(None,), parts=("n", "pair")),
        ),
    ],
)
def test_a_stack_is_as_wide_as_its_widest(rows, columns, spec):
    read = read_spec(rows, [columns, "y"])
    assert read.features == (spec, ColumnSpec(name="y", dtype="float32"))
    assert column_names(read.features, None) == [columns, "y"]
    by_name = read_spec(rows, {"table": columns, "other": "y"})
    assert by_name.features == read.features and by_name.feature_keys == ("table", "other")


def test_values_stand_in_the_order_of_the_columns(rows):
    spec = read_spec(rows, [["pair", "n", "flag", "v", "x"]])
    found = prepare(rows, spec, 1, 0, shuffle=True).frame.collect()
    for row in found:
        n = row.c0[2]
        expected = [n / 3, n / 5, n, n % 2 == 0, n / 11, 1.0, n / 7]
        np.testing.assert_allclose(row.c0, expected, rtol=1e-6)
    assert sorted(row.c0[2] for row in found) == list(range(40))


@pytest.mark.parametrize("workers", [1, 2])
def test_training_and_predictions_are_those_of_an_array(rows, workers):
    frame = rows.withColumn("all", F.array("x", F.col("n") / 40, F.col("pair")[0] / 13))
    frame = frame.withColumn("n", F.col("n") / 40)
    frame = frame.withColumn("third", F.col("pair")[0] / 13)
    ones = [FakeEstimator.of(linear(3, 0.01), workers) for _ in range(2)]
    for est, features in zip(ones, (["all"], [["x", "n", "third"]]), strict=True):
        est.fit(frame, features, epochs=3, validation=frame)
    np.testing.assert_array_equal(ones[0].weights, ones[1].weights)
    # The columns are known from the training.
    predicted = [est.predict(frame, None).select("prediction").collect() for est in ones]
    assert predicted[0] == predicted[1]
    assert ones[0].evaluate(frame, None) == ones[1].evaluate(frame, None)


def test_a_null_names_the_column_it_is_in(rows):
    frame = rows.withColumn("x", F.when(F.col("n") != 7, F.col("x")))
    with pytest.raises(DataError) as caught:
        FakeEstimator.of(linear(2)).fit(frame, [["n", "x"]])
    first, second = str(caught.value).splitlines()
    assert first.startswith("the columns 'n', 'x' hold nulls: 1 of 40 rows, for example {'x': None")
    assert "df.na.drop(subset=['n', 'x'])" in second
    FakeEstimator.of(linear(2, 1e-4)).fit(frame.na.drop(subset=["n", "x"]), [["n", "x"]])


def test_what_cannot_be_stacked(rows):
    frame = rows.withColumn("s", F.lit("a")).withColumn("m", F.array("pair"))
    with pytest.raises(ColumnError, match="'s' holds strings and 'n' numbers") as caught:
        read_spec(frame, [["n", "s"]])
    assert "StringIndexer(inputCol='s'" in str(caught.value).splitlines()[1]
    with pytest.raises(ColumnError, match="'m' holds arrays of arrays") as caught:
        read_spec(frame, [["n", "m"]])
    assert "F.flatten('m')" in str(caught.value).splitlines()[1]
    read_spec(frame.withColumn("m", F.flatten("m")), [["n", "m"]])
    with pytest.raises(ColumnError, match="an input without a column"):
        read_spec(frame, [[], "n"])
    with pytest.raises(ColumnError, match="got 3 of type int"):
        read_spec(frame, [["n", 3]])
    with pytest.raises(ColumnError, match="there is no column 'nn'"):
        read_spec(frame, [["n", "nn"]])
    assert read_spec(frame, [["s", "s"]]).features[0].dtype == "string"


@pytest.mark.parametrize(
    ("train", "validation", "culprit", "advice"),
    [
        ("int", "a int, b double", "b", "F.col('b').cast('int')"),
        ("int", "a int, b bigint", "b", "F.col('b').cast('int')"),
        ("int", "a string, b string", "a", "F.col('a').cast('int')"),
        ("string", "a int, b int", "a", "Make it string there too"),
        ("boolean", "a boolean, b int", "b", "F.col('b').cast('boolean')"),
        ("bigint", "a int, b array<double>", "b", "Make it array of int64 there too"),
    ],
)
def test_validation_is_never_narrowed_to_the_stack(spark, train, validation, culprit, advice):
    df = spark.createDataFrame([], f"a {train}, b {train}")
    other = spark.createDataFrame([], validation)
    spec = read_spec(df, [["a", "b"]])
    with pytest.raises(ColumnError, match=f"^validation_data: column '{culprit}' has") as caught:
        prepare(df, spec, 1, 1, other)
    assert f"it is stacked as {spec.features[0].dtype}\n" in str(caught.value)
    assert advice in str(caught.value).splitlines()[1]


def test_the_way_out_of_a_narrow_stack_and_what_widens(spark):
    df = spark.createDataFrame([(1, 2)], "a bigint, b bigint")
    spec = read_spec(df, [["a", "b"]])
    other = spark.createDataFrame([(3, 4.0)], "a int, b double")
    with pytest.raises(ColumnError, match="'b' has the type double"):
        prepare(df, spec, 1, 1, other)
    cast = other.withColumn("b", F.col("b").cast("bigint"))
    found = prepare(df, spec, 1, 1, cast).frame.collect()
    assert sorted(row.c0 for row in found) == [[1, 2], [3, 4]]


def test_booleans_and_smaller_numbers_widen_to_the_stack_of_the_training_data(spark):
    df = spark.createDataFrame([(1, 2.0)], "a int, b double")
    other = spark.createDataFrame([(True, 3)], "a boolean, b int")
    found = prepare(df, read_spec(df, [["a", "b"]]), 1, 1, other).frame.collect()
    assert sorted(row.c0 for row in found) == [[1.0, 2.0], [1.0, 3.0]]
