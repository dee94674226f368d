"""Ways out of errors in the language of pandas, Arrow and dicts: each is run, and mends."""

import re
from typing import Any

import numpy
import pandas
import pyarrow
import pyarrow.compute
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.errors import DataError, OrcaError
from zoo.orca.learn.forms.wording import reworded, words_of
from zoo.orca.learn.pytorch import Estimator
from zoo.orca.wire.features import ColumnSpec, flattened

pytestmark = pytest.mark.timeout(200)

FORMS = ["pandas", "arrow", "arrays"]
each_form = pytest.mark.parametrize("form", FORMS)


def of(form: str, columns: dict[Any, Any]) -> Any:
    """The columns, lists of rows, in one of the forms."""
    if form == "pandas":
        return pandas.DataFrame({name: pandas.Series(rows) for name, rows in columns.items()})
    if form == "arrow":
        return pyarrow.table({str(name): pyarrow.array(rows) for name, rows in columns.items()})
    return {
        name: numpy.fromiter(rows, object, len(rows)) if is_ragged(rows) else numpy.array(rows)
        for name, rows in columns.items()
    }


def is_ragged(rows: list[Any]) -> bool:
    return any(isinstance(row, (bytes, list)) and None in [*row] for row in rows) or isinstance(
        rows[0], bytes
    )


def run(way: str, data: Any, argument: str = "data") -> Any:
    """Run what a way out says to write; return the data after it."""
    assert "df" not in way and "F." not in way and "pyspark" not in way, way
    there = {"numpy": numpy, "pandas": pandas, "pyarrow": pyarrow, argument: data}
    code = re.search(rf"(?:{argument} = )?{argument}\b[^;]*(?:; {argument}.*)?$", way)
    assert code is not None, way
    exec(code[0], there)
    return there[argument]


def values(data: Any, name: Any) -> list[Any]:
    column = data[name]
    rows = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return [numpy.asarray(row).tolist() for row in rows]


TEXTS: list[tuple[str, list[Any], str, list[Any]]] = [
    ("Cast it: df = df.withColumn('x', F.col('x').cast('float'))", [1, 2], "x", [1.0, 2.0]),
    ("Cast it: df.withColumn('x', F.col('x').cast('string'))", [1, 2], "x", ["1", "2"]),
    ("Make it two: df = df.withColumn('x_2', 'x')", [1, 2], "x_2", [1, 2]),
    (
        "Make one: df = df.withColumn('x', F.col('x')[0].cast('float'))",
        [[1, 2], [3, 4]],
        "x",
        [1.0, 3.0],
    ),
    ("Make it: df.withColumn('x', F.array('x'))", [1, 2], "x", [[1], [2]]),
    (
        f"Flatten it: {flattened('x', 2)}",
        [[[1, 2], [3, 4]], [[5, 6], [7, 8]]],
        "x",
        [[1, 2, 3, 4], [5, 6, 7, 8]],
    ),
    (ColumnSpec(name="x", dtype="string").refused("no"), ["b", "a", "b"], "x_index", [0, 1, 0]),
]


@each_form
@pytest.mark.parametrize(("text", "rows", "name", "expected"), TEXTS, ids=range(len(TEXTS)))
def test_what_it_says_to_write_mends(
    form: str, text: str, rows: list[Any], name: str, expected: list[Any]
) -> None:
    data = of(form, {"x": rows})
    words = words_of(data, "data")
    found = values(run(reworded(text, words), data), name)
    if name == "x_index":  # any numbers, one for each text
        assert len(set(zip(found, expected, strict=True))) == len(set(expected))
    else:
        assert found == expected
        assert str(found) == str(expected)  # of the same type


@each_form
def test_bytes_are_decoded(form: str) -> None:
    data = of(form, {"x": [b"\x00\xff", b"\xff\x33"]})
    text = ColumnSpec(name="x", dtype="string", binary=True).refused("no").splitlines()[1]
    way = reworded(text, words_of(data, "data"))
    assert way.endswith("; for PNG or JPEG, a batch_transform of the estimator, with PIL.Image")
    assert values(run(way.partition(" makes")[0], data), "x") == [[0.0, 1.0], [1.0, 0.2]]


def test_odd_names_and_numbers_as_names() -> None:
    frame = pandas.DataFrame({3: [1, 2], "odd `n.": [3, 4]})
    words = words_of(frame, "data")
    way = reworded("df = df.withColumn('3', F.col('`3`').cast('float'))", words)
    assert way == "data[3] = data[3].astype('float32')"
    assert values(run(way, frame), 3) == [1.0, 2.0]
    way = reworded("df = df.withColumn('odd `n.', F.col('`odd ``n.`').cast('float'))", words)
    assert values(run(way, frame), "odd `n.") == [3.0, 4.0]


def test_arrays_of_x_and_y_are_found_where_they_are() -> None:
    data = {"x": {"user": numpy.array([1, 2])}, "y": numpy.array([1, 2])}
    words = words_of(data, "data")
    run(reworded("df.withColumn('x_user', F.col('x_user').cast('float'))", words), data)
    run(reworded("df.withColumn('y', F.col('y').cast('float'))", words), data)
    assert data["x"]["user"].dtype == data["y"].dtype == "float32"
    words = words_of({"x": [numpy.array([1]), numpy.array([2])], "y": numpy.array([1])}, "data")
    assert words.column("x_1") == "data['x'][1]"


def test_spark_keeps_its_own_words(spark: SparkSession) -> None:
    assert words_of(spark.range(1), "data") is None
    assert words_of(3, "data") is None


CALLS: list[tuple[dict[Any, Any], dict[str, Any], list[str]]] = [
    # The columns, further arguments of fit, and the roles of what the way out makes.
    ({"x": [1.0, 2.0], "y": [0.5, 1.0], "w": [[1.0, 2.0], [2.0, 3.0]]}, {}, []),
    ({"x": ["a", "b"], "y": [0.5, 1.0], "w": [1.0, 2.0]}, {}, ["x_index"]),
]


@each_form
@pytest.mark.parametrize(("columns", "given", "features"), CALLS, ids=["weight", "strings"])
def test_a_call_is_mended(
    spark: SparkSession, form: str, columns: dict[Any, Any], given: dict[str, Any], features: Any
) -> None:
    est = Estimator.from_torch(model=lambda config: None, num_workers=1)
    data = of(form, columns)
    roles = {"label_cols": ["y"], "sample_weight_col": "w", **given}
    with pytest.raises(OrcaError) as caught:
        est.fit(data, feature_cols=["x"], **roles)
    refused = est.plan(data, feature_cols=["x"], **roles).refused
    assert str(refused[0]) == str(caught.value)
    mended = run(str(caught.value).splitlines()[1], data)
    assert not est.plan(mended, feature_cols=features or ["x"], **roles).refused


@each_form
def test_validation_data_is_mended(spark: SparkSession, form: str) -> None:
    est = Estimator.from_torch(model=lambda config: None, num_workers=1)
    data = of(form, {"x": [1, 2], "y": [0.5, 1.0]})
    other = of(form, {"x": [1.0, 2.0], "y": [0.5, 1.0]})
    roles = {"feature_cols": ["x"], "label_cols": ["y"]}
    with pytest.raises(OrcaError, match="^validation_data: column 'x'") as caught:
        est.fit(data, validation_data=other, **roles)
    mended = run(str(caught.value).splitlines()[1], other, "validation_data")
    assert not est.plan(data, validation_data=mended, **roles).refused


@each_form
def test_nulls_inside_arrays_are_left_out(spark: SparkSession, form: str) -> None:
    data = of(form, {"x": [[1.0, 2.0], [1.0, None]], "y": [0.5, 1.0]})
    with pytest.raises(DataError, match="arrays with nulls inside") as caught:
        FakeEstimator.of(linear(2)).fit(data)
    way = str(caught.value).splitlines()[1]
    if form == "arrays":
        there: dict[str, Any] = {"data": data}
        exec(re.search(r"(sound = .*), and take", way)[1], there)
        mended = {name: array[numpy.array(there["sound"])] for name, array in data.items()}
    else:
        mended = run(way, data)
    assert values(mended, "x") == [[1.0, 2.0]]
