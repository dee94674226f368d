"""Dicts of arrays."""

from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.errors import ColumnError
from zoo.orca.learn.forms.arrays import ArraysForm, parts_of
from zoo.orca.learn.forms.form import Columns

pytestmark = pytest.mark.timeout(120)

ONE, TWO = np.zeros((3, 2)), np.ones(3)


@pytest.mark.parametrize(
    ("given", "columns", "own"),
    [
        ({"x": ONE, "y": TWO}, ["x", "y"], Columns(["x"], ["y"])),
        ({"x": ONE}, ["x"], Columns(["x"], None)),
        ({"x": [1, 2, 3], "y": [[1], [2], [3]]}, ["x", "y"], Columns(["x"], ["y"])),
        ({"x": (ONE, TWO), "y": TWO}, ["x_0", "x_1", "y"], Columns(["x_0", "x_1"], ["y"])),
        ({"x": [ONE, TWO], "y": (TWO,)}, ["x_0", "x_1", "y_0"], Columns(["x_0", "x_1"], ["y_0"])),
        (
            {"x": {"user": TWO, "item": TWO}, "y": {"score": TWO}},
            ["x_user", "x_item", "y_score"],
            Columns({"user": "x_user", "item": "x_item"}, {"score": "y_score"}),
        ),
        ({"user": TWO, "y": TWO}, ["user", "y"], Columns()),
        ({"x": TWO, "y": TWO, "weight": TWO}, ["x", "y", "weight"], Columns()),
    ],
)
def test_arrays_are_columns_by_name_or_by_role(given: dict, columns: list, own: Columns) -> None:
    assert list(parts_of(given)) == columns
    assert ArraysForm(given, "data").own_columns() == own


def test_inputs_and_labels_need_no_names_of_columns(spark: SparkSession) -> None:
    rows = np.random.default_rng(0).random((60, 2))
    y = rows @ [1.0, -2.0]
    frame = spark.createDataFrame(
        [(row.tolist(), float(one)) for row, one in zip(rows, y, strict=True)],
        "x array<double>, y double",
    )
    plain = FakeEstimator.of(linear(2))
    expected = plain.fit(frame, shuffle=True, epochs=2).history
    found = FakeEstimator.of(linear(2))
    assert found.fit({"x": rows, "y": y}, None, labels=None, epochs=2).history == expected
    assert found.evaluate({"x": rows, "y": y}, None, None, batch_size=8) == plain.evaluate(
        frame, batch_size=8
    )
    several = FakeEstimator.of(linear(2))
    parts = {"x": (rows[:, 0], rows[:, 1:]), "y": y}
    assert several.fit(parts, None, labels=None, epochs=2).history["loss"] == pytest.approx(
        expected["loss"], rel=1e-2
    )
    # A dict that knows its inputs counts more than the columns that the model has seen.
    np.testing.assert_allclose(
        several.predict(parts, None)["prediction"],
        several.predict({"one": rows[:, 0], "two": rows[:, 1]}, ["one", "two"])["prediction"],
    )


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [3], []],
        (np.array([1, 2]), np.array([3]), np.array([], int)),
        [np.ones((2, 2)), np.ones((1, 3)), np.ones((0, 2))],
    ],
)
def test_rows_of_several_lengths_are_lists(spark: SparkSession, rows: Any) -> None:
    frame = ArraysForm({"h": rows}, "data").frame(spark, Columns("h"))
    assert [row.h for row in frame.collect()] == [np.asarray(row).tolist() for row in rows]


def test_predictions_are_a_dict_of_arrays(spark: SparkSession) -> None:
    est = FakeEstimator.of(linear())
    given = {"x": np.arange(5.0)[::-1].copy(), "y": np.arange(5.0), "tag": np.arange(5) * 1j}
    est.fit(given)
    found = est.predict(given)
    assert list(found) == ["x", "y", "tag", "prediction"] and found["tag"] is given["tag"]
    np.testing.assert_allclose(found["prediction"], given["x"] * est.weights[0], rtol=1e-5)
    assert len(est.predict({"x": np.zeros(0)})["prediction"]) == 0


class OnAGpu:
    """What a tensor on a GPU says."""

    shape = (3,)

    def __array__(self, *args: Any, **named: Any) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")


@pytest.mark.parametrize(
    ("given", "told", "way"),
    [
        (
            {"x": TWO, "y": np.ones(2)},
            "data: its arrays have different numbers of rows: 'x' has 3, 'y' has 2",
            "Each array must",
        ),
        (
            {"x": TWO, "y": 1.0},
            "column 'y' of data is one value, 1.0, and no array of rows",
            "Repeat it for each row, for example numpy.full(rows, 1.0)",
        ),
        (
            {"x": OnAGpu(), "y": TWO},
            "column 'x' of data is no array: can't convert",
            "Make it one of numpy's, for example tensor.detach().cpu().numpy()",
        ),
        (
            {"x": [[1], 2, 3], "y": TWO},
            "column 'x' cannot become a column of Spark: ",
            "Pass numbers, text",
        ),
        (
            {"x": np.ma.masked_equal(TWO, 1), "y": TWO},
            "column 'x' of data is a masked array",
            "Fill what is masked",
        ),
        (
            {"x": TWO.astype("M8[s]"), "y": TWO},
            "column 'x' has the type timestamp[s], which no model",
            "Make the array one of numbers: array.astype('int64')",
        ),
        (
            {"x": TWO * 1j, "y": TWO},
            "column 'x' cannot become a column of Spark: Unsupported numpy",
            "Pass numbers, text",
        ),
        ({}, "data has no columns", "Give it the columns"),
    ],
)
def test_arrays_that_are_no_columns(spark: SparkSession, given: dict, told: str, way: str) -> None:
    with pytest.raises(ColumnError) as caught:
        FakeEstimator.of(linear()).fit(given)
    first, second = str(caught.value).splitlines()
    assert first.startswith(told) and second.startswith(way)
