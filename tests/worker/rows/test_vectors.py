"""Packed Vectors become what Vectors of the same values are."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.errors import DataError
from zoo.orca.wire.features import IS_DENSE, packed_name
from zoo.orca.worker.rows import vectors
from zoo.orca.worker.rows.vectors import unpacked

pytestmark = pytest.mark.timeout(120)


def batch_of(rows):
    """A batch of packed Vectors, and a number of each row's behind them."""
    columns = [pa.array(rows, pa.list_(pa.float32())), pa.array(range(len(rows)), pa.int64())]
    return pa.RecordBatch.from_arrays(columns, [packed_name(0), "place"])


def packed(row, is_sparse):
    """The list of a Vector, None for a null."""
    if row is None:
        return None
    if not is_sparse:
        return [IS_DENSE, *row]
    places = [place for place, value in enumerate(row) if value]
    return [len(row), *places, *(row[place] for place in places)]


def unpacked_rows(batch):
    """The Vectors of all pieces and their numbers."""
    pieces = list(unpacked(batch, ["x"]))
    assert all(piece.schema.names == batch.schema.names for piece in pieces)
    rows = [row for piece in pieces for row in piece.column(0).to_pylist()]
    return rows, [place for piece in pieces for place in piece.column(1).to_pylist()]


values = st.sampled_from([0.0, 0.0, 0.0, 1.5, -2.0, float("inf")])
some_rows = st.lists(st.tuples(st.none() | st.lists(values, max_size=7), st.booleans()))


@given(some_rows, st.integers(1, 30), st.integers(0, 3))
def test_all_rows_have_their_values_whatever_pieces_they_come_in(pairs, at_once, skipped):
    batch = batch_of([packed(*pair) for pair in pairs]).slice(skipped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_AT_ONCE", at_once)
        rows, places = unpacked_rows(batch)
    assert rows == [row for row, _ in pairs[skipped:]]
    assert places == list(range(skipped, len(pairs)))


def test_pieces_are_small(monkeypatch):
    monkeypatch.setattr(vectors, "_AT_ONCE", 100)
    batch = batch_of([[40, 3, 1.0]] * 5 + [[500, 499, 2.0]] + [[40]])
    assert [piece.num_rows for piece in unpacked(batch, ["x"])] == [2, 2, 1, 1, 1]


def test_other_columns_come_as_they_are():
    batch = pa.RecordBatch.from_pydict({"c0": [[1.0]], packed_name(0): [[2.0]]})
    (found,) = unpacked(batch, ["x", "y"])
    assert found is batch


def test_a_value_without_a_place_is_refused():
    with pytest.raises(
        DataError, match=r"column 'x' .* 3 values with one at place 3, .*\n.*sparse"
    ):
        list(unpacked(batch_of([[5, 4, 1.0], [3, 3, 1.0]]), ["x"]))


def test_a_place_before_the_first_is_refused():
    with pytest.raises(DataError, match=r"3 values with one at place -1, "):
        list(unpacked(batch_of([[3, 1, 1.0], [3, -1, 1.0]]), ["x"]))


def test_memory_is_used_again():
    batch = batch_of([[1000, 3, 1.0]] * 1000)
    before = pa.total_allocated_bytes()
    (piece,) = unpacked(batch, ["x"])
    assert pa.total_allocated_bytes() - before >= 4_000_000
    del piece
    assert pa.total_allocated_bytes() == before


def test_no_rows_are_none():
    assert list(unpacked(batch_of([]), ["x"])) == []
