"""pandas' columns, as Arrow has them."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import column
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.forms.pandas import PandasForm

pytestmark = pytest.mark.timeout(120)


def read(spark: SparkSession, series: pd.Series) -> list:
    """A column's values, as Spark has them."""
    frame = PandasForm(pd.DataFrame({"x": series}), "data").frame(spark, Columns("x"))
    return [row.x for row in frame.collect()]


COLUMNS = {
    "uint8": (pd.Series([1, 255], dtype="uint8"), [1, 255]),
    "uint64": (pd.Series([1, 2], dtype="uint64"), [1, 2]),
    "float16": (pd.Series([0.5, 2], dtype="float16"), [0.5, 2.0]),
    "big-endian": (pd.Series(np.array([1, 256], ">i4")), [1, 256]),
    "Int64": (pd.Series([1, 2], dtype="Int64"), [1, 2]),
    "boolean": (pd.Series([True, False], dtype="boolean"), [True, False]),
    "objects, booleans": (pd.Series([True, False], dtype=object), [True, False]),
    "Arrow's own": (pd.Series([1, 2], dtype=pd.ArrowDtype(pa.uint32())), [1, 2]),
    "categories": (pd.Series(["b", "a"], dtype="category"), ["b", "a"]),
    "categories of numbers": (pd.Series([7, 5]).astype("category"), [7, 5]),
    "sparse": (pd.Series(pd.arrays.SparseArray([0.0, 1.0])), [0.0, 1.0]),
    "text": (pd.Series(["a", "é"]), ["a", "é"]),
    "string": (pd.Series(["a", "b"], dtype="string"), ["a", "b"]),
    "bytes": (pd.Series([b"\x00", b"b"]), [b"\x00", b"b"]),
    "decimals": (pd.Series([Decimal("1.5"), Decimal("2")]), [1.5, 2.0]),
    "lists": (pd.Series([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "lists of lists": (pd.Series([[[1.0], [2.0]], [[3.0], [4.0]]]), [[[1], [2]], [[3], [4]]]),
    "arrays": (pd.Series([np.ones(2), np.zeros(2)]), [[1.0, 1.0], [0.0, 0.0]]),
    "arrays of two axes": (
        pd.Series([np.eye(2), np.zeros((2, 2))]),
        [[[1, 0], [0, 1]], [[0] * 2] * 2],
    ),
    "unequal arrays of two axes": (
        pd.Series([np.eye(2), np.zeros((1, 3))]),
        [[[1, 0], [0, 1]], [[0] * 3]],
    ),
    "unequal lists": (pd.Series([[1], [1, 2]]), [[1], [1, 2]]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_each_kind_keeps_its_values(spark: SparkSession, kind: str) -> None:
    series, values = COLUMNS[kind]
    series.index = pd.Index([5, 3])  # an index is no position
    assert read(spark, series) == values


REFUSED = {
    "a time": pd.Series(pd.date_range("2024", periods=2)),
    "a time with a zone": pd.Series(pd.date_range("2024", periods=2, tz="Europe/Berlin")),
    "a duration": pd.Series(pd.to_timedelta([1, 2], "s")),
    "a date": pd.Series([datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)]),
    "dicts": pd.Series([{"a": 1}, {"a": 2}]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_column_says_what_makes_numbers_of_it(spark: SparkSession, kind: str) -> None:
    with pytest.raises(ColumnError, match="^column 'x' has the type .*, which no model") as caught:
        read(spark, REFUSED[kind])
    data = pd.DataFrame({"x": REFUSED[kind]})
    exec(str(caught.value).splitlines()[1].partition(": ")[2], {"data": data, "pandas": pd})
    found = read(spark, data["x"])
    assert found == data["x"].tolist() and all(isinstance(one, int) for one in found)


@pytest.mark.parametrize(
    ("series", "told"),
    [
        (pd.Series([1, "a"]), "cannot become a column of Spark: Could not convert 'a'"),
        (pd.Series([2**70, 1]), "cannot become a column of Spark: Python int too large"),
        (pd.Series([1j, 2]), "cannot become a column of Spark: Unsupported numpy type"),
        (pd.Series([2**63], dtype="uint64"), "of type uint64 does not fit the numbers"),
        (pd.Series([np.eye(2), np.ones(3)]), "cannot become a column of Spark: its arrays have"),
        (pd.Series(pd.period_range("2024", periods=2, freq="D")), "has the type extension<pandas"),
    ],
)
def test_what_spark_has_no_type_for_is_told_by_its_column(
    spark: SparkSession, series: pd.Series, told: str
) -> None:
    with pytest.raises(ColumnError) as caught:
        read(spark, series)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"column 'x' {told}") and second.startswith("Make it numbers")


@pytest.mark.parametrize(
    "series",
    [
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1.0, np.nan]),
        pd.Series(["a", None]),
        pd.Series([None, np.ones((1, 2))]),
        pd.Series([np.ones((1, 2)), np.nan]),
        pd.Series([None, None]),
        pd.Series([1, 2], dtype="category").cat.set_categories([1]),
    ],
)
def test_missing_values_are_refused_before_anything_moves(
    spark: SparkSession, series: pd.Series
) -> None:
    data = pd.DataFrame({"x": series, "y": [1.0, 2.0]})
    est = FakeEstimator.of(linear())
    with pytest.raises(DataError, match=r"^column 'x' holds nulls: \d of 2 rows") as caught:
        est.fit(data)
    drop, _, fill = str(caught.value).splitlines()[1].partition(", or fill them")
    assert eval(drop.partition("with ")[2])["x"].notna().all()
    if series.map(type).eq(str).any():
        assert eval(fill.removeprefix(": "))["x"].tolist() == ["a", ""]
    assert bool(fill) != series.map(lambda cell: isinstance(cell, np.ndarray)).any()
    with pytest.raises(DataError, match="^column 'x' of validation_data holds nulls"):
        est.fit(pd.DataFrame({"x": [1.0], "y": [1.0]}), validation=data)


def test_null_arrays_of_a_padded_column_become_empty_as_the_error_says(spark: SparkSession) -> None:
    data = pd.DataFrame({"x": pd.Series([[1, 2], None, np.nan, np.ones(1)]), "y": 1.0})
    columns = Columns([column("x")], "y")
    with pytest.raises(DataError, match=r"holds nulls: 2 of 4 rows") as caught:
        PandasForm(data, "data").frame(spark, columns)
    exec(str(caught.value).partition(", or fill them: ")[2])
    lengths = PandasForm(data, "data").frame(spark, columns).selectExpr("size(x)").toArrow()
    assert lengths[0].to_pylist() == [2, 0, 0, 1]


def test_columns_that_no_call_names_may_hold_anything(spark: SparkSession) -> None:
    data = pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0], "note": [{1}, object()], 7: [None, 1j]})
    est = FakeEstimator.of(linear())
    est.fit(data)
    found = est.predict(data)
    assert found.columns.tolist() == ["x", "y", "note", 7, "prediction"]
    assert found["note"].tolist() == data["note"].tolist()


def test_names_that_repeat_or_are_numbers(spark: SparkSession) -> None:
    twice = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["x", "x", "y"])
    with pytest.raises(ColumnError, match="the DataFrame has 2 columns named 'x'"):
        FakeEstimator.of(linear()).fit(twice)
    numbers = pd.DataFrame(np.arange(12.0).reshape(4, 3))
    est, same = FakeEstimator.of(linear()), FakeEstimator.of(linear())
    est.fit(numbers, ["0"], labels=["2"])
    same.fit(numbers.rename(columns=str), ["0"], labels=["2"])
    np.testing.assert_array_equal(est.weights, same.weights)
    with pytest.raises(ColumnError, match="there is no column '9'\nThe DataFrame has the columns "):
        est.fit(numbers, ["9"], labels=["2"])


def test_predictions_keep_index_types_and_order(spark: SparkSession) -> None:
    rows = 1000
    data = pd.DataFrame(
        {
            "x": np.arange(rows)[::-1] / rows,
            "y": 1.0,
            "when": pd.date_range("2024", periods=rows),
            "kind": pd.Categorical(["a", "b"] * (rows // 2)),
        },
        index=pd.Index(np.random.permutation(rows), name="key"),
    )
    est = FakeEstimator.of(linear())
    est.fit(data)
    before = data.copy()
    found = est.predict(data)
    pd.testing.assert_frame_equal(found.drop(columns="prediction"), before)
    pd.testing.assert_frame_equal(data, before)
    weight = np.float32(est.weights[0])
    np.testing.assert_allclose(found["prediction"], data["x"].astype("float32") * weight, rtol=1e-5)
    with pytest.raises(ColumnError, match="already has a column 'prediction'"):
        est.predict(found)
    assert est.predict(data.iloc[:0]).columns.tolist() == [*data.columns, "prediction"]


def test_what_a_worker_finds_is_one_error_of_the_call(spark: SparkSession) -> None:
    est = FakeEstimator.of(linear(2))
    est.fit(pd.DataFrame({"x": [[1.0, 2.0]], "y": [1.0]}))
    holes = pd.DataFrame({"x": [[1.0, 2.0], [1.0, None]]})
    with pytest.raises(DataError, match="^column 'x' holds arrays with nulls inside: ") as caught:
        est.predict(holes)
    assert "java" not in str(caught.value) and "SQLSTATE" not in str(caught.value)
    assert "DataError" in caught.value.traceback


@pytest.mark.parametrize("rows", [[], [[], []]])
def test_a_padded_column_may_have_no_element(spark: SparkSession, rows: list) -> None:
    data = pd.DataFrame({"h": pd.Series(rows, dtype=object)})
    frame = PandasForm(data, "data").frame(spark, Columns([column("h", pad=0)]))
    assert [row.h for row in frame.collect()] == rows
    assert frame.schema["h"].dataType.simpleString() == "array<bigint>"
