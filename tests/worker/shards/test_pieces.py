"""Rows of shards, cut and joined."""

import numpy as np
import pandas as pd
import pytest

from zoo.orca.worker.shards.pieces import cut_rows, join_rows, rows_of


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12).reshape(6, 2),
        list(range(6)),
        {"x": np.arange(6), "y": (np.zeros((6, 2)), np.ones(6))},
        (np.arange(6), pd.Series(range(6))),
        pd.DataFrame({"a": range(6)}),
    ],
    ids=["array", "list", "dict", "tuple", "frame"],
)
def test_rows_that_are_cut_and_joined_are_the_same(value):
    assert rows_of(value) == 6
    pieces = [cut_rows(value, low, high) for low, high in ((0, 0), (0, 4), (4, 6))]
    joined = join_rows(pieces)
    assert type(joined) is type(value)
    assert repr(joined) == repr(value)


def test_what_has_no_common_rows():
    for value in (3, "text", {"x": np.zeros(2), "y": np.zeros(3)}, {"x": 1}, np.float32(1), {}):
        assert rows_of(value) is None
