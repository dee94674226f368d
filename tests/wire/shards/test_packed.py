"""Shards as bytes: what comes back is what went in, to the last type."""

import threading

import numpy as np
import pandas as pd
import pytest

from zoo.orca.errors import DataError
from zoo.orca.wire.shards.packed import (
    ARROW,
    PICKLE,
    pack_shard,
    shard_name,
    unpack_shard,
)

FRAMES = {
    "plain": (
        ARROW,
        pd.DataFrame(
            {
                "whole": [1, 2],
                "small": np.array([1, 2], np.int8),
                "half": np.array([1.5, np.nan], np.float32),
                "text": ["x", None],
                "bytes": [b"", b"\0"],
                "flag": [True, False],
                "time": pd.to_datetime(["2020-01-01 10:00", None]),
            }
        ),
    ),
    "empty": (ARROW, pd.DataFrame({"a": np.array([], np.int32)})),
    "cut": (ARROW, pd.DataFrame({"a": range(9)}).iloc[2:5]),
    "index": (PICKLE, pd.DataFrame({"a": [1, 2]}, index=["x", "y"])),
    "lists": (PICKLE, pd.DataFrame({"a": [[1], [2, 3]]})),
    "arrays": (PICKLE, pd.DataFrame({"a": [np.zeros(2), np.ones(2)]})),
    "nan among texts": (PICKLE, pd.DataFrame({"a": ["x", np.nan]})),
    "mixed": (PICKLE, pd.DataFrame({"a": ["x", 1]})),
    "whole objects": (PICKLE, pd.DataFrame({"a": pd.Series([1, None], dtype=object)})),
    "nullable": (PICKLE, pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})),
    "category": (PICKLE, pd.DataFrame({"a": pd.Categorical(["x", "y"])})),
    "numbers as names": (PICKLE, pd.DataFrame({0: [1]})),
    "two of a name": (PICKLE, pd.DataFrame([[1, 2]], columns=["a", "a"])),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_as_it_was(name):
    form, frame = FRAMES[name]
    packed = pack_shard(frame)
    assert (packed.form, packed.rows) == (form, len(frame))
    back = unpack_shard(packed.form, packed.data)
    pd.testing.assert_frame_equal(back, frame, check_freq=False)
    for column in frame.select_dtypes("object") if form == ARROW else ():
        assert [type(one) for one in back[column]] == [type(one) for one in frame[column]]


def test_other_values_come_back_and_have_lengths():
    for value, rows in (({"x": np.arange(3)}, 1), ([1, 2], 2), (np.float32(2), 1), ("text", 4)):
        packed = pack_shard(value)
        assert packed.rows == rows
        np.testing.assert_equal(unpack_shard(packed.form, packed.data), value)


def test_a_shard_that_is_too_large_names_the_way_out():
    with pytest.raises(DataError, match=r"has 4,\d\d\d bytes.*at most 4,000") as caught:
        pack_shard(np.zeros(500), most=4000)
    assert "repartition(n)" in str(caught.value)


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(DataError, match="of type list, cannot be pickled: cannot pickle"):
        pack_shard([threading.Lock()])


def test_names_tell_partition_and_number():
    assert shard_name(3) == "shard 3"
    assert shard_name((2 << 32) + 5) == "shard 5 of partition 1"
