"""Arrays of unequal length: padded rows equal those that a plain loop makes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.some_rows import ARROW, VALUES, batch_of, filled, problem_of, spec_of, spool
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import Padding
from zoo.orca.worker.rows import padding as padding_module
from zoo.orca.worker.rows import spool as spool_module
from zoo.orca.worker.rows.dataset import batch_columns, open_rows

pytestmark = pytest.mark.timeout(120)

FILLS = {"bool": True, "int32": -7, "int64": 9, "float32": 0.5, "string": "é\xff"}
DTYPES = {"bool": np.bool_, "int32": np.int32, "int64": np.int64, "float32": np.float32}


def padded_spec(dtype, lengths, keep="last", *, mask=True):
    """A scalar, then a padded column with its mask."""
    column = ColumnSpec(
        name="h", dtype=dtype, shape=lengths, padding=Padding(value=FILLS[dtype], keep=keep)
    )
    given = ColumnSpec(name="h_mask", dtype="bool", shape=lengths, mask_of="h")
    features = (ColumnSpec(name="x", dtype="int32"), column, *([given] if mask else []))
    return FeatureSpec(features=features)


def by_hand(row, shape, keep, fill):
    """A row as nested lists of that shape, and where its own values are."""
    if not shape:
        return row, True
    kept = row[: shape[0]] if keep == "first" else row[max(len(row) - shape[0], 0) :]
    inner = [by_hand(one, shape[1:], keep, fill) for one in kept]
    for _ in range(shape[0] - len(kept)):
        inner.append((nothing(shape[1:], fill), nothing(shape[1:], False)))
    return [values for values, _ in inner], [mask for _, mask in inner]


def nothing(shape, fill):
    return [nothing(shape[1:], fill) for _ in range(shape[0])] if shape else fill


def longest(rows, lengths, keep):
    """The lengths that are asked for, or the longest at each level of those lists that stay."""
    found = []
    for asked in lengths:
        found.append(max([1, *map(len, rows)]) if asked is None else asked)
        cut = [by_hand(row, found[-1:], keep, None)[0][: len(row)] for row in rows]
        rows = [one for row in cut for one in row]
    return tuple(found)


def assert_padded(columns, rows, spec, lengths):
    """The arrays are what a plain loop over the rows makes."""
    column = spec.columns[1]
    shape = longest(rows, lengths, column.padding.keep)
    made = [by_hand(row, shape, column.padding.keep, column.padding.fill) for row in rows]
    assert list(columns) == ["x", "h", "h_mask"]
    values, mask = columns["h"], columns["h_mask"]
    assert values.shape == mask.shape == (len(rows), *shape)
    assert (values.dtype, mask.dtype) == (DTYPES.get(column.dtype, np.dtype(object)), np.bool_)
    expected = np.empty((len(rows), *shape), object)
    where = np.zeros((len(rows), *shape), bool)
    for number, (one, own) in enumerate(made):
        for place in np.ndindex(*shape):
            inner, flag = one, own
            for index in place:
                inner, flag = inner[index], flag[index]
            expected[(number, *place)], where[(number, *place)] = inner, flag
    np.testing.assert_array_equal(mask, where)
    np.testing.assert_array_equal(np.asarray(values).astype(object), expected)


@st.composite
def ragged(draw):
    """A spec with lengths that are asked for or not, and rows of lists of any length."""
    depth = draw(st.integers(1, 3))
    dtype = draw(st.sampled_from(sorted(ARROW)))
    lengths = tuple(draw(st.none() | st.integers(1, 4)) for _ in range(depth))
    values = VALUES[dtype].filter(lambda value: value == value)
    for _ in range(depth):
        values = st.lists(values, max_size=5)
    keep = draw(st.sampled_from(["first", "last"]))
    rows = draw(st.lists(values, min_size=1, max_size=12))
    return padded_spec(dtype, lengths, keep), rows


@given(ragged(), st.lists(st.integers(0, 99), max_size=3), st.sampled_from([1, 64 << 20]))
def test_padded_rows_come_back_from_a_file(tmp_path_factory, table, cuts, block):
    spec, rows = table
    lengths = spec.columns[1].shape
    batch = batch_of(spec, [(number, row) for number, row in enumerate(rows)])
    edges = [0, *sorted(place % (len(rows) + 1) for place in cuts), len(rows)]
    batches = [batch.slice(start, end - start) for start, end in pairwise(edges)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "BLOCK_BYTES", block)
        patch.setattr(padding_module, "_AT_ONCE", 8)
        done = spool(tmp_path_factory.mktemp("rows"), spec, batches)
        agreed = filled(spec, done)
        columns = open_rows(done.train.file, agreed)
    assert [c.shape for c in agreed.features[1:]] == [agreed.columns[1].shape] * 2
    assert columns["x"].tolist() == list(range(len(rows)))
    assert_padded(columns, rows, agreed, lengths)


@given(ragged(), st.integers(0, 3))
def test_padded_rows_come_back_from_a_batch(table, before):
    spec, rows = table
    shape = tuple(length or 3 for length in spec.columns[1].shape)
    features = [spec.features[0], *(replace(c, shape=shape) for c in spec.features[1:])]
    spec = replace(spec, features=tuple(features))
    batch = batch_of(spec, [(number, row) for number, row in enumerate(rows)]).slice(before)
    assert_padded(batch_columns(batch, spec), rows[before:], spec, shape)


def test_all_ranks_and_data_sets_pad_to_the_longest_of_all(tmp_path):
    spec = padded_spec("int32", (None,))
    told = []
    for rank, (train, validation) in enumerate([([1], [1, 2, 3]), ([1, 2], [])]):
        (tmp_path / str(rank)).mkdir()
        batch = batch_of(spec, [(0, train), (1, validation)], [False, True])
        told.append(spool(tmp_path / str(rank), spec, [batch], validate=True))
    agreed = filled(spec, *told)
    assert [column.shape for column in agreed.features] == [(), (3,), (3,)]
    assert open_rows(told[0].train.file, agreed)["h"].tolist() == [[1, -7, -7]]
    assert open_rows(told[1].validation.file, agreed)["h"].tolist() == [[-7, -7, -7]]


def test_a_rank_without_rows_has_padded_columns_too(tmp_path):
    spec = padded_spec("float32", (None, 2))
    (tmp_path / "other").mkdir()
    empty = spool(tmp_path, spec, [])
    other = spool(tmp_path / "other", spec, [batch_of(spec, [(1, [[1.0], [2.0], []])])])
    rows = open_rows(empty.train.file, filled(spec, empty, other))
    assert rows["h"].shape == rows["h_mask"].shape == (0, 3, 2)


@pytest.mark.parametrize("lengths", [(None,), (2,)])
def test_where_all_arrays_are_empty_there_is_padding_alone(tmp_path, lengths):
    spec = padded_spec("int64", lengths)
    done = spool(tmp_path, spec, [batch_of(spec, [(1, []), (2, [])])])
    rows = open_rows(done.train.file, filled(spec, done))
    width = lengths[0] or 1
    assert rows["h"].tolist() == [[9] * width] * 2
    assert not rows["h_mask"].any()


def test_nulls_of_a_padded_column_stay_refused(tmp_path):
    spec = padded_spec("int32", (None,))
    done = spool(tmp_path, spec, [batch_of(spec, [(1, [1, None]), (2, None), (3, [])])])
    problem = problem_of(spec, done)
    assert "column 'h' holds nulls: 1 of 3 rows" in problem
    assert "column 'h' holds arrays with nulls inside: 1 of 3 rows" in problem


def test_padded_numbers_are_mapped_and_the_ragged_file_is_gone(tmp_path):
    spec = padded_spec("int64", (None,))
    done = spool(tmp_path, spec, [batch_of(spec, [(1, [1]), (2, [1, 2])])])
    allocated = pa.total_allocated_bytes()
    rows = open_rows(done.train.file, filled(spec, done))
    assert pa.total_allocated_bytes() == allocated
    assert not any(values.flags.owndata or values.flags.writeable for values in rows.values())
    names = {path.name for path in tmp_path.iterdir()}
    own = {f"train.columns{end}" for end in ("", ".0", ".1", ".2")}
    assert names == {*own, "train.places"}


def test_a_column_that_is_not_padded_lies_as_ever_beside_one_that_is(tmp_path):
    spec = spec_of(v=("float32", (None,)), b="bool")
    more = padded_spec("int32", (2,), mask=False)
    spec = replace(spec, features=(*spec.features, *more.features))
    rows = [([1.0, 2.0], True, 5, [1]), ([3.0, 4.0], False, 6, [1, 2, 3])]
    done = spool(tmp_path, spec, [batch_of(spec, rows)])
    found = open_rows(done.train.file, filled(spec, done))
    assert {name: values.tolist() for name, values in found.items()} == {
        "v": [[1.0, 2.0], [3.0, 4.0]],
        "b": [True, False],
        "x": [5, 6],
        "h": [[1, -7], [2, 3]],
    }
