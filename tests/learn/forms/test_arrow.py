"""Arrow tables and record batches."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.data import column
from zoo.orca.errors import ColumnError, DataError
from zoo.orca.learn.forms.arrow import ArrowForm
from zoo.orca.learn.forms.form import Columns

pytestmark = pytest.mark.timeout(120)

TABLE = pa.table(
    {
        "x": pa.chunked_array([[1.0, 2.0], [], [3.0]]),
        "y": pa.array([1, 2, 3], pa.uint8()),
        "more": pa.array([{"a": 1}, None, {"a": 2}]),
    }
)


def test_predictions_are_a_table_or_a_batch(spark: SparkSession) -> None:
    est = FakeEstimator.of(linear())
    est.fit(TABLE)
    found = est.predict(TABLE)
    assert found.drop_columns("prediction") == TABLE
    expected = np.float32(est.weights[0]) * np.array([1, 2, 3], "float32")
    np.testing.assert_allclose(found["prediction"].to_numpy(), expected, rtol=1e-5)
    batch = TABLE.combine_chunks().to_batches()[0]
    answered = est.predict(batch)
    assert isinstance(answered, pa.RecordBatch) and answered.to_pylist() == found.to_pylist()
    nothing = est.predict(batch.slice(0, 0))
    assert isinstance(nothing, pa.RecordBatch) and nothing.schema.names == found.column_names


def test_a_column_of_tensors_is_one_of_nested_lists(spark: SparkSession) -> None:
    values = np.arange(6, dtype="float32").reshape(3, 1, 2)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    one = FakeEstimator.of(linear(2))
    one.fit(pa.table({"x": tensors, "y": [1.0, 2.0, 3.0]}))
    other = FakeEstimator.of(linear(2))
    other.fit({"x": values, "y": np.array([1.0, 2.0, 3.0])})
    np.testing.assert_array_equal(one.weights, other.weights)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 2)]),
        pa.array([datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)]),
        pa.array([datetime.timedelta(1), datetime.timedelta(2)]),
    ],
)
def test_a_refused_column_says_what_makes_numbers_of_it(spark: SparkSession, values) -> None:
    data = pa.table({"x": values, "y": [1.0, 2.0]})
    with pytest.raises(ColumnError, match="^column 'x' has the type .*, which no model") as caught:
        FakeEstimator.of(linear()).fit(data)
    made = eval(str(caught.value).splitlines()[1].partition(": ")[2], {"data": data})
    assert made["number"].type in (pa.int64(), pa.int32())


def test_fields_of_a_struct_are_columns_of_their_own(spark: SparkSession) -> None:
    with pytest.raises(ColumnError) as caught:
        FakeEstimator.of(linear()).fit(TABLE, ["more"])
    way, _, name = (
        str(caught.value).splitlines()[1].partition(": ")[2].partition(" has one called ")
    )
    assert eval(name) in eval(way, {"data": TABLE}).column_names


def test_nulls_are_refused_before_anything_moves(spark: SparkSession) -> None:
    data = pa.table({"x": [1.0, None, float("nan")], "y": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match="^column 'x' holds nulls: 1 of 3 rows") as caught:
        FakeEstimator.of(linear()).fit(data)
    drop, _, fill = str(caught.value).splitlines()[1].partition(", or fill them: ")
    assert eval(drop.removeprefix("Drop these rows with "), {"data": data}).num_rows == 2
    assert eval(fill, {"data": data}).null_count == 0
    data = pa.table({"x": ["a", None], "h": [[1], None]})
    for name in ("x", column("h")):
        with pytest.raises(DataError, match="holds nulls: 1 of 2 rows") as caught:
            ArrowForm(data, "data").frame(spark, Columns([name], ()))
        fill = str(caught.value).partition(", or fill them: ")[2]
        assert eval(fill, {"data": data}).null_count == 0
