"""Labels as Spark ML has them."""

from decimal import Decimal

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.driver.reports.failures import translate
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.ml.labels import check_marks, check_numbers, with_classes


def frame(spark, values, kind="double", name="label"):
    schema = T.StructType([T.StructField(name, T._parse_datatype_string(kind))])
    return spark.createDataFrame([(value,) for value in values], schema)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", [0.0, 2.0, None]),
        ("float", [0.0, 2.0, None]),
        ("decimal(5, 2)", [Decimal("0.00"), Decimal("2.00"), None]),
        ("boolean", [False, True, None]),
    ],
)
def test_whole_numbers_are_cast_without_a_word(spark, kind, values):
    found = with_classes(frame(spark, values, kind), "label")
    assert found.schema["label"].dataType == T.IntegerType()
    expected = [None if value is None else int(value) for value in values]
    assert [row.label for row in found.collect()] == expected


@pytest.mark.parametrize("kind", ["tinyint", "int", "bigint"])
def test_integers_stay(spark, kind):
    given = frame(spark, [0, 1], kind)
    assert with_classes(given, "label") is given


@pytest.mark.parametrize("value", ["1.5", "NaN", "Infinity", "1.0E10"])
def test_the_first_that_is_not_whole_is_named(spark, value):
    given = frame(spark, [0.0, 1.0, float(value), 2.5], name="my label").coalesce(1)
    with pytest.raises(spark_errors()) as raised:
        with_classes(given, "my label").collect()
    found = translate(raised.value, 0, spark)
    assert type(found) is DataError
    cause, way = str(found).splitlines()
    assert cause == f"labelCol: column 'my label' has {value}, and classes are whole numbers"
    assert "F.round('`my label`')" in way and way.endswith("measured")


def test_the_way_out_works(spark):
    given = frame(spark, [0.0, 1.4], name="my label")
    rounded = given.withColumn("my label", F.round("`my label`"))
    assert [row[0] for row in with_classes(rounded, "my label").collect()] == [0, 1]


def test_what_is_no_number_is_refused(spark):
    texts = frame(spark, ["a"], "string")
    with pytest.raises(ColumnError, match="column 'label' is a string.*\n.*StringIndexer"):
        with_classes(texts, "label")
    with pytest.raises(ColumnError, match="column 'label' is a string.*\n.*cast"):
        check_numbers(texts, "label")
    check_numbers(frame(spark, [1.5]), "label")
    check_numbers(frame(spark, [1.5]), "missing")  # of which fit tells


def test_a_column_is_found_by_sparks_rule_for_case(spark):
    found = with_classes(frame(spark, [1.0], name="Label"), "label")
    assert found.columns == ["Label"] and found.first()[0] == 1


def test_marks_of_rows_that_validate(spark):
    check_marks(frame(spark, [True], "boolean"), "label")
    check_marks(frame(spark, [1.0]), "label")
    with pytest.raises(ColumnError, match="'label' is a string.*\\n.*F.col\\('label'\\) == "):
        check_marks(frame(spark, ["train"], "string"), "label")
    with pytest.raises(ColumnError, match="not one column 'v'\\n.*'label'"):
        check_marks(frame(spark, [1.0]), "v")
