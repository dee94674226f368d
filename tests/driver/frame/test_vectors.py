"""Vectors are packed for the workers, and have the places of all their values."""

import math
import re

import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.mllib.linalg import Vectors as OldVectors
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.driver.frame.columns import column_spec, converted
from zoo.orca.driver.frame.source import MARKER, prepare, read_spec
from zoo.orca.wire.features import packed_name

pytestmark = pytest.mark.timeout(120)

#: Vectors, and the lists that they become.
ROWS = [
    (Vectors.sparse(6, {4: 1.5}), [6, 4, 1.5]),
    (Vectors.sparse(6, {}), [6]),
    (Vectors.sparse(6, {0: 0.1, 5: -0.0}), [6, 0, 5, pytest.approx(0.1), -0.0]),
    (Vectors.sparse(6, {0: 1.0, 1: 2.0, 2: 3.0}), [-1, 1, 2, 3, 0, 0, 0]),
    (Vectors.dense(1, 0, 0, 0, 0, 2.5), [-1, 1, 0, 0, 0, 0, 2.5]),
    (None, None),
]


@pytest.fixture
def df(spark):
    rows = [(key, vector) for key, (vector, _) in enumerate(ROWS)]
    return spark.createDataFrame(
        rows, T.StructType().add("k", T.IntegerType()).add("x.y", VectorUDT())
    )


@pytest.mark.parametrize("vectors", [Vectors, OldVectors], ids=["ml", "mllib"])
def test_numbers_are_those_of_sparks_own_function(spark, vectors):
    rows = [
        vectors.dense([1e300, -0.0, math.nan, 0.1]),
        vectors.sparse(4, {1: 1e-50, 3: 2.5}),
        vectors.dense([]),
        vectors.sparse(3, {}),
        None,
    ]
    df = spark.createDataFrame([(one,) for one in rows], ["x"])
    (field,) = df.schema.fields
    own = F.when(F.col("x").isNotNull(), vector_to_array("x", "float32"))
    found = df.select(converted(field, column_spec(field, "x")).alias("found"), own.alias("own"))
    for row in found.collect():
        assert repr(row["found"]) == repr(row["own"])


def test_what_moves_is_short(df):
    frame = prepare(df, read_spec(df, ["k", "x.y"]), 2, 7, shuffle=True).frame
    assert frame.columns == ["c0", packed_name(1), "origin", "place"]
    found = {row["c0"]: row[packed_name(1)] for row in frame.collect()}
    assert found == {key: packed for key, (_, packed) in enumerate(ROWS)}


def places_of(frame):
    return {row["c0"]: row["place"] for row in frame.collect()}


def test_places_are_those_of_the_values(df):
    found = places_of(prepare(df, read_spec(df, ["k", "x.y"]), 2, 7, shuffle=True).frame)
    vector = F.col("`x.y`")
    dense = F.when(vector.isNotNull(), vector_to_array(vector, "float32"))
    places = df.select(F.col("k").alias("c0"), F.xxhash64(F.lit(7), "k", dense).alias("place"))
    assert found == places_of(places)


def test_places_do_not_depend_on_partitions_or_workers(df):
    spec = read_spec(df, ["k", "x.y"])
    one = places_of(prepare(df.coalesce(1), spec, 2, 7, shuffle=True).frame)
    others = places_of(prepare(df.repartition(3), spec, 4, 7, shuffle=True).frame)
    assert one == others
    assert len(set(one.values())) == len(ROWS)


def test_numbers_that_differ_in_doubles_alone_have_one_place(spark):
    # A model has them as floats, so these rows are equal.
    vectors = [Vectors.sparse(6, {4: 0.1}), Vectors.sparse(6, {4: 0.1 + 1e-12})]
    df = spark.createDataFrame([(one,) for one in vectors], T.StructType().add("x", VectorUDT()))
    rows = prepare(df, read_spec(df, ["x"]), 1, 7, shuffle=True).frame.collect()
    assert rows[0]["place"] == rows[1]["place"]


@pytest.mark.classic("only there a plan can be read")
def test_dense_vectors_are_not_made_objects(df):
    frame = prepare(df.repartition(2), read_spec(df, ["x.y"]), 2, 7).frame
    plan = frame._jdf.queryExecution().optimizedPlan().toString()
    # The function that makes objects is called for the type of sparse Vectors alone.
    assert plan.count("UDF(") == len(re.findall(r"type = 0\) THEN UDF\(", plan)) == 1


def test_validation_rows_may_hold_arrays_instead(df):
    other = df.selectExpr("k", "array(1D, 2D) `x.y`").limit(1)
    frame = prepare(df, read_spec(df, ["x.y"]), 2, 7, other).frame
    assert [row[packed_name(0)] for row in frame.where(MARKER).collect()] == [[-1, 1, 2]]
    assert frame.where(~F.col(MARKER)).count() == len(ROWS)


def test_arrays_of_validation_have_the_places_of_vectors(df):
    rows = df.where("k = 4")
    arrays = rows.select("k", vector_to_array(F.col("`x.y`")).alias("x.y"))
    frame = prepare(rows, read_spec(rows, ["k", "x.y"]), 2, 7, arrays).frame
    one, same = frame.drop(MARKER, "origin").collect()
    assert one == same
