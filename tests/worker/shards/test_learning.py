"""Shards as rows for a model, and predictions that find their shards again."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from zoo.orca.errors import DataError
from zoo.orca.wire.shards.packed import unpack_shard
from zoo.orca.worker.shards import columns
from zoo.orca.worker.shards.learning import (
    ModelRows,
    NoPredictions,
    Tell,
    make_answer_task,
    model_table,
    read_schema,
)

ALL = frozenset({"a", "b"})


def test_arrays_are_nested_lists_in_the_types_of_a_model():
    value = np.arange(24, dtype=np.float64).reshape(4, 3, 2)
    shard = {"x": (value, np.array([1, 2, 3, 4], np.uint8)), "y": {"a": np.ones(4)}}
    table = model_table(shard, ALL)
    assert table.schema.names == ["x_0", "x_1", "y_a"]
    assert table.schema.types == [pa.list_(pa.list_(pa.float32())), pa.int16(), pa.float32()]
    assert table["x_0"].to_pylist() == value.tolist()
    told = Tell(ALL)(shard)
    assert told.parts == {"x": ["x_0", "x_1"], "y": {"a": "y_a"}}
    assert read_schema(told.schema) == table.schema


def test_an_empty_array_keeps_its_type():
    table = model_table({"x": np.zeros((0, 3), np.int32)}, ALL)
    assert table.num_rows == 0 and table.schema.types == [pa.list_(pa.int32())]


def test_columns_that_nobody_asks_for_hold_nothing():
    frame = pd.DataFrame({"a": [1, 2], "when": pd.to_datetime(["2020", "2021"])})
    assert model_table(frame, frozenset({"a"}))["when"].null_count == 2
    with pytest.raises(DataError, match="column 'when' has the type timestamp"):
        model_table(frame, frozenset({"when"}))


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ([1], "the shard is of type list\n"),
        ({"z": np.ones(2)}, r"is of type dict with the keys \['z'\]\n"),
        ({"x": 3}, "x is of type int, not an array of rows"),
        ({"x": np.ones(2), "y": np.ones(3)}, "differ in rows: x has 2, y has 3"),
        ({"x": np.array([1j])}, "x of dtype complex128 cannot become a column"),
        ({"x": [[1], [2, 3]]}, "x is no array"),
        ({"x": np.array([1 << 63], np.uint64)}, "x of type uint64 does not fit"),
    ],
)
def test_what_is_no_dict_of_arrays(shard, said):
    with pytest.raises(DataError, match=said):
        model_table(shard, ALL)


@pytest.mark.parametrize("step", [1, 3, 100])
def test_shards_meet_their_predictions_again_however_batches_are_cut(monkeypatch, step):
    monkeypatch.setattr(columns, "_BATCH_BYTES", 16)
    shards = [
        pd.DataFrame({"a": np.arange(n, dtype=np.float32), "t": [f"{n}"] * n}) for n in (3, 0, 5)
    ]
    told = Tell(ALL)(shards[0])
    rows = ModelRows(schema=told.schema, wanted=ALL, carries=True, row=told.row)
    made = [batch for index, one in enumerate(shards) for batch in rows(one, index)]
    table = pa.Table.from_batches(made)
    assert table.num_rows == 9  # one for the shard without any
    numbers = pa.array(np.arange(9) * 10.0)
    vectors = pa.array([[float(n), 0.0] for n in range(9)])
    carried = table.select(range(2, 6)).append_column("p", numbers).append_column("v", vectors)
    task = make_answer_task({"prediction": 4, "vector": 5})
    batches = carried.combine_chunks().to_batches(max_chunksize=step)
    answers = [batch.to_pylist()[0] for batch in task(iter(batches))]
    assert [one["index"] for one in answers] == [0, 1, 2]
    found = [unpack_shard(one["form"], one["data"]) for one in answers]
    assert [one["prediction"].tolist() for one in found] == [[0, 10, 20], [], [40, 50, 60, 70, 80]]
    assert [cell.tolist() for cell in found[2]["vector"]] == [[n, 0] for n in range(4, 9)]
    for one, shard in zip(found, shards, strict=True):
        pd.testing.assert_frame_equal(one[["a", "t"]], shard)


def test_shards_without_rows_get_empty_predictions():
    assert NoPredictions(["p"])({"x": np.zeros((0, 2))})["p"].shape == (0,)
    assert list(NoPredictions(["p"])(pd.DataFrame({"a": []})).columns) == ["a", "p"]
