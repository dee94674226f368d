"""Rows of MLflow's as Arrow batches: the same as Spark makes of the same columns."""

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from zoo.orca.errors import ColumnError, DataError, InvalidInputError
from zoo.orca.mlflow.rows import batch_of
from zoo.orca.wire.features import ColumnSpec, FeatureSpec


def spec(*columns: ColumnSpec) -> FeatureSpec:
    return FeatureSpec(features=columns)


def column(name: str, dtype: str, depth: int = 0, **fields) -> ColumnSpec:
    return ColumnSpec(name=name, dtype=dtype, shape=(None,) * depth, **fields)


def listed(data, *columns: ColumnSpec) -> list[list]:
    """The batch's columns as lists, once their types are those that the workers expect."""
    wanted = {"int32": "int32", "int64": "int64", "float32": "float", "string": "binary"}
    batch = batch_of(data, spec(*columns))
    for one, kind in zip(columns, batch.schema.types, strict=True):
        shown = wanted.get(one.dtype, one.dtype)
        for _ in one.shape:
            assert pa.types.is_list(kind)
            kind = kind.value_type
        assert str(kind) == shown
    return [array.to_pylist() for array in batch.columns]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], "int32", [1, 2]),
        (np.array([1, 2], np.int8), "int32", [1, 2]),
        (np.array([1, 2], np.uint16), "int64", [1, 2]),
        ([1.5, 2.5], "float32", [1.5, 2.5]),
        # What a float has no place for is rounded, as Spark's cast does.
        ([16777217, 3], "float32", [16777216.0, 3.0]),
        ([decimal.Decimal("1.25"), decimal.Decimal("2.5")], "float32", [1.25, 2.5]),
        ([True, False], "bool", [True, False]),
        (["ä", "b\0"], "string", ["ä".encode(), b"b\0"]),
        ([b"\0\1", b""], "string", [b"\0\1", b""]),
    ],
)
def test_scalars(values, dtype, expected):
    data = pd.DataFrame({"x": values})
    assert listed(data, column("x", dtype)) == [expected]
    assert listed({"x": np.array(values, object)}, column("x", dtype)) == [expected]


@pytest.mark.parametrize(
    ("cells", "depth", "dtype", "expected"),
    [
        ([[1, 2], [3, 4]], 1, "float32", [[1.0, 2.0], [3.0, 4.0]]),
        ([np.array([1.5, 2.5]), np.array([3.0, 4.0])], 1, "float32", [[1.5, 2.5], [3.0, 4.0]]),
        ([np.array([1, 2]), np.array([3])], 1, "int32", [[1, 2], [3]]),
        ([np.eye(2), np.zeros((2, 2))], 2, "float32", [[[1, 0], [0, 1]], [[0, 0], [0, 0]]]),
        ([[[1.0], [2.0, 3.0]], [[4.0]]], 2, "float32", [[[1.0], [2.0, 3.0]], [[4.0]]]),
        ([np.array(["a", "bc"]), np.array(["d", "e"])], 1, "string", [[b"a", b"bc"], [b"d", b"e"]]),
    ],
)
def test_arrays(cells, depth, dtype, expected):
    data = pd.DataFrame({"x": pd.Series(cells, dtype=object)})
    assert listed(data, column("x", dtype, depth)) == [expected]


def test_arrays_of_arrays_as_spark_hands_them_over():
    inner = [np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)]
    cell = np.empty(2, object)
    cell[:] = inner
    data = pd.DataFrame({"x": pd.Series([cell, cell], dtype=object)})
    assert listed(data, column("x", "float32", 2)) == [[[[1.0, 2.0], [3.0, 4.0]]] * 2]


def test_stacks_are_concatenated_in_order():
    data = pd.DataFrame({"a": [1, 2], "b": [[0.5, 1.5], [2.5, 3.5]], "c": [7.0, 8.0]})
    stack = column("[a, b, c]", "float32", 1, parts=("a", "b", "c"), arrays=("b",))
    assert listed(data, stack) == [[[1.0, 0.5, 1.5, 7.0], [2.0, 2.5, 3.5, 8.0]]]
    ragged = pd.DataFrame({"a": [1, 2], "b": [[0.5], [2.5, 3.5]], "c": [7.0, 8.0]})
    assert listed(ragged, stack) == [[[1.0, 0.5, 7.0], [2.0, 2.5, 3.5, 8.0]]]
    texts = pd.DataFrame({"a": ["x", "y"], "b": ["z", ""]})
    pair = ColumnSpec(name="[a, b]", dtype="string", shape=(2,), parts=("a", "b"))
    assert listed(texts, pair) == [[[b"x", b"z"], [b"y", b""]]]


def test_columns_are_found_by_name_and_others_are_left():
    data = pd.DataFrame({"z": [None, None], "y": [1, 2], "x": [3, 4]})
    assert listed(data, column("x", "int32"), column("y", "int64")) == [[3, 4], [1, 2]]


def test_no_rows():
    assert listed(pd.DataFrame({"x": []}), column("x", "float32")) == [[]]
    stack = ColumnSpec(name="[x, y]", dtype="float32", shape=(2,), parts=("x", "y"))
    assert listed(pd.DataFrame({"x": [], "y": []}), stack) == [[]]


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ({"y": [1]}, ColumnError, "no column 'x'\nThe rows have the columns"),
        ({"x": [1, None]}, DataError, "column 'x' holds nulls: 1 of 2 rows\nLeave"),
        ({"x": [2**40]}, ColumnError, "column 'x' does not fit: .*\nConvert"),
        ({"x": [1.5]}, ColumnError, "column 'x' does not fit: .*\nConvert"),
        ({"x": pd.to_datetime(["2020-01-01"])}, ColumnError, "has the type timestamp.*\nConvert"),
        ({"x": [[1], "a"]}, ColumnError, "column 'x' cannot become a column .*\nMake"),
    ],
)
def test_what_cannot_be_an_input_is_named(data, error, text):
    with pytest.raises(error, match=text):
        batch_of(pd.DataFrame(data), spec(column("x", "int32")))


def test_other_forms_are_refused():
    with pytest.raises(InvalidInputError, match=r"got list\nPass one with the columns \['x'\]"):
        batch_of([[1]], spec(column("x", "int32")))
