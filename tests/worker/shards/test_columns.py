"""Shards as rows: types that Spark has, checked against those of the first shard."""

import pandas as pd
import pyarrow as pa
import pytest

from zoo.orca.errors import DataError
from zoo.orca.worker.shards import columns
from zoo.orca.worker.shards.columns import FrameRows, frame_table


def rows_of(table, shard):
    made = FrameRows(schema=table.schema.serialize().to_pybytes(), zone="UTC")(shard, 0)
    return pa.Table.from_batches(made, table.schema)


def test_large_frames_come_in_bounded_batches(monkeypatch):
    monkeypatch.setattr(columns, "_BATCH_BYTES", 64)
    frame = pd.DataFrame({"a": range(100), "b": [f"t{n}" for n in range(100)]})
    table = frame_table(frame, "UTC")
    batches = list(FrameRows(schema=table.schema.serialize().to_pybytes(), zone="UTC")(frame, 0))
    assert len(batches) > 10
    pd.testing.assert_frame_equal(pa.Table.from_batches(batches).to_pandas(), frame)


def test_whole_numbers_fit_columns_with_missing_values_and_back():
    whole = frame_table(pd.DataFrame({"a": [1, 2]}), "UTC")
    missing = pd.DataFrame({"a": [3.0, None]})
    assert rows_of(whole, missing)["a"].to_pylist() == [3, None]
    assert rows_of(frame_table(missing, "UTC"), pd.DataFrame({"a": [1]}))["a"].to_pylist() == [1.0]


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ([1, 2], [1.5]),
        ([1, 2], ["1"]),
        (["x"], [1]),
        ([1.5], [(1 << 53) + 1]),
        ([True], [1]),
        ([[1.0]], [1.0]),
    ],
)
def test_another_type_is_refused(first, other):
    table = frame_table(pd.DataFrame({"a": first}), "UTC")
    with pytest.raises(DataError, match="column 'a' is .* in the first shard\nLet the function"):
        rows_of(table, pd.DataFrame({"a": other}))


def test_a_column_without_values_fits_any_type():
    for values in (["x"], [[1.0]], [True]):
        table = frame_table(pd.DataFrame({"a": values}), "UTC")
        nothing = pd.DataFrame({"a": [float("nan")] * 2})
        assert rows_of(table, nothing)["a"].to_pylist() == [None, None]


def test_other_columns_are_refused():
    table = frame_table(pd.DataFrame({"a": [1]}), "UTC")
    with pytest.raises(DataError, match="the columns are 'b', and those of the first shard 'a'"):
        rows_of(table, pd.DataFrame({"b": [1]}))


def test_times_are_in_the_sessions_zone():
    frame = pd.DataFrame({"t": pd.to_datetime(["2020-07-01 12:00"])})
    (told,) = frame_table(frame, "Europe/Berlin")["t"].to_pylist()
    assert told.isoformat() == "2020-07-01T10:00:00+00:00"


def test_a_column_of_several_kinds_names_the_way_out():
    with pytest.raises(DataError, match="column 'a' has no type of Spark's"):
        frame_table(pd.DataFrame({"a": [1, "x"]}), "UTC")
