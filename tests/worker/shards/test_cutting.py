"""Pieces of shards: each row goes to one new shard, in its order."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.errors import DataError
from zoo.orca.worker.shards.cutting import ByColumn, Evenly
from zoo.orca.worker.shards.pieces import join_rows


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(1, 9))
def test_evenly_cut_shards_are_those_of_array_split(lengths, shards):
    rows = np.arange(sum(lengths))
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    spans = {7 * place: (starts[place], starts[place] + n) for place, n in enumerate(lengths)}
    old = {index: rows[low:high] for index, (low, high) in spans.items()}
    cut = Evenly(spans=spans, shards=shards)
    pieces = [(target, index, piece) for index in old for target, piece in cut(old[index], index)]
    made = [
        join_rows([piece for target, _, piece in pieces if target == place])
        for place in range(shards)
    ]
    for new, expected in zip(made, np.array_split(rows, shards), strict=True):
        np.testing.assert_array_equal(new, expected)
        assert new.dtype == rows.dtype


def test_shards_that_are_not_as_they_were_counted_are_refused():
    cut = Evenly(spans={0: (0, 2), 1: (2, 4)}, shards=2)
    for index, rows in ((1, 3), (2, 2)):
        with pytest.raises(
            DataError, match=f"has {rows} rows, and had .*\nThey come out otherwise"
        ):
            list(cut(np.zeros(rows), index))


def test_equal_values_go_to_one_shard_whatever_their_type():
    cut = ByColumn(column="k", shards=3)
    whole = dict(cut(pd.DataFrame({"k": [1, 2, 3, 1], "n": range(4)}), 0))
    other = dict(cut(pd.DataFrame({"k": [3.0, None, 1.0], "n": range(4, 7)}), 1))
    assert sorted(whole) == sorted(other) == [0, 1, 2]
    for piece, more in zip(whole.values(), other.values(), strict=True):
        assert set(more["k"].dropna()) <= set(piece["k"])
    assert sum(map(len, whole.values())) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series([1, 2, 3, 4, 5.0]), pd.Series([1, 2, 3, 4, 5], dtype=np.float32)),
        (pd.Series([0.0]), pd.Series([-0.0])),
        (pd.Series([True, False]), pd.Series([True, False, None])),
    ],
    ids=["float32", "zeros", "booleans"],
)
def test_equal_values_of_other_types_go_to_one_shard(one, other):
    cut = ByColumn(column="k", shards=13)

    def places(values):
        pieces = dict(cut(pd.DataFrame({"k": values}), 0))
        return {value: target for target, piece in pieces.items() for value in piece["k"]}

    there = places(other)
    assert {value: there[value] for value in one} == places(one)


def test_what_has_no_such_column():
    cut = ByColumn(column="k", shards=3)
    with pytest.raises(DataError, match="no column 'k'\nThe frame has the columns 'a'"):
        list(cut(pd.DataFrame({"a": [1]}), 0))
    with pytest.raises(DataError, match="is a list, not a pandas DataFrame"):
        list(cut([1], 0))
