"""Rows as numpy arrays, from files and from batches."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, filled, spec_of, spool, tables
from zoo.orca.errors import DataError
from zoo.orca.wire.features import fill_shapes
from zoo.orca.worker.rows import spool as spool_module
from zoo.orca.worker.rows.column_files import mapped
from zoo.orca.worker.rows.dataset import batch_columns, open_rows

pytestmark = pytest.mark.timeout(120)

NUMPY = {"bool": np.bool_, "int32": np.int32, "int64": np.int64, "float32": np.float32}


def assert_holds(columns, spec, shapes, rows):
    """Arrays of the right type and shape, with the values of `rows`."""
    assert list(columns) == [column.name for column in spec.columns]
    for index, column in enumerate(spec.columns):
        found = np.asarray(columns[column.name])
        assert found.dtype == NUMPY.get(column.dtype, np.dtype(object))
        shape = shapes[column.name]
        # Inside of an empty list, and without any row, there is no length to know.
        shape = tuple(0 if 0 in shape[:level] else k for level, k in enumerate(shape))
        if rows:
            assert found.shape == (len(rows), *shape)
        expected = np.empty((len(rows), *shape), found.dtype)
        for row, values in enumerate(rows):
            # numpy would keep an array of no dimension around a single object as it is.
            array = np.array(values[index], found.dtype).reshape(shape)
            expected[row] = array if shape else array.item()
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)


def cut(batch, cuts):
    """The batch in pieces, each a slice with an offset."""
    edges = [0, *sorted(cut % (batch.num_rows + 1) for cut in cuts), batch.num_rows]
    return [
        batch.slice(start, end - start) for start, end in zip(edges[:-1], edges[1:], strict=True)
    ]


@given(tables(), st.lists(st.integers(0, 99), max_size=4), st.sampled_from([1, 64, 64 << 20]))
def test_rows_come_back_from_a_file(tmp_path_factory, table, cuts, block):
    spec, shapes, rows = table
    directory = tmp_path_factory.mktemp("rows")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "BLOCK_BYTES", block)
        done = spool(directory, spec, cut(batch_of(spec, rows), cuts))
    columns = open_rows(done.train.file, filled(spec, done))
    assert_holds(columns, spec, shapes, rows)


@given(tables(), st.integers(0, 5), st.integers(0, 5))
def test_rows_come_back_from_a_batch(table, before, after):
    spec, shapes, rows = table
    batch = batch_of(spec, rows)
    batch = batch.slice(before, max(0, batch.num_rows - before - after))
    rows = rows[before : before + batch.num_rows]
    assert_holds(batch_columns(batch, spec), spec, shapes, rows)


@pytest.mark.parametrize("block", [1, 64 << 20])
def test_numbers_are_mapped_not_read(tmp_path, monkeypatch, block):
    monkeypatch.setattr(spool_module, "BLOCK_BYTES", block)
    # Three booleans leave the columns after them at odd places unless they are aligned.
    spec = spec_of(b="bool", x="int64", v=("float32", (None,)))
    batch = batch_of(spec, [(True, 1, [1.0, 2.0]), (False, 2, [3.0, 4.0])])
    done = spool(tmp_path, spec, [batch, batch.slice(1)])
    allocated = pa.total_allocated_bytes()
    columns = open_rows(done.train.file, filled(spec, done))
    assert pa.total_allocated_bytes() == allocated
    for array in columns.values():
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.flags.aligned
    assert columns["v"].tolist() == [[1, 2], [3, 4], [3, 4]]


def test_strings_are_bytes(tmp_path):
    spec = spec_of(s="string", t=("string", (None,)))
    text = pa.array(["größe", ""], pa.string())
    lists = pa.array([["a", "b"], ["", "日本"]], pa.list_(pa.string()))
    origin = pa.array([0, 0], pa.int32())
    batch = pa.RecordBatch.from_arrays(
        [text, lists, origin, origin], ["c0", "c1", "origin", "shard"]
    )
    done = spool(tmp_path, spec, [batch])
    for columns in (
        open_rows(done.train.file, filled(spec, done)),
        batch_columns(batch, spec),
    ):
        assert np.asarray(columns["s"]).tolist() == ["größe".encode(), b""]
        assert np.asarray(columns["t"]).tolist() == [[b"a", b"b"], [b"", "日本".encode()]]
        assert columns["t"].dtype == object


def test_a_column_in_two_roles_is_one_array(tmp_path):
    spec = spec_of(x="int32")
    both = type(spec)(features=spec.features, labels=spec.features)
    done = spool(tmp_path, both, [batch_of(both, [(1,)])])
    assert list(open_rows(done.train.file, filled(both, done))) == ["x"]


def test_a_file_outlives_its_name(tmp_path):
    """The task removes the directory as soon as the job is done."""
    spec = spec_of(x="int32")
    done = spool(tmp_path, spec, [batch_of(spec, [(n,) for n in range(1000)])])
    columns = open_rows(done.train.file, filled(spec, done))
    for path in tmp_path.iterdir():
        path.unlink()
    assert columns["x"].sum() == 499500


def test_rows_that_moved_are_not_on_the_disk_twice(tmp_path):
    spec = spec_of(x="int32", s="string")
    batches = [batch_of(spec, [(1, b"a"), (2, b"b")], origin=origin) for origin in (1, 0)]
    done = spool(tmp_path, spec, batches)
    columns = open_rows(done.train.file, filled(spec, done))
    names = {path.name for path in tmp_path.iterdir()}
    ours = {"train.columns", "train.columns.0", "train.columns.1", "train.columns.1.ends"}
    assert names == {*ours, "train.places", "train.blocks.npy"}
    assert columns["x"].tolist() == [1, 2, 1, 2]
    assert columns["s"][:].tolist() == [b"a", b"b", b"a", b"b"]


def test_rows_that_come_last_are_written_behind_the_others(tmp_path):
    spec = spec_of(x="int32", s="string", t=("string", (2,)))
    own, taken = (
        batch_of(spec, [(n, str(n).encode(), [b"t", str(n).encode()]) for n in some])
        for some in ((1, 2), (30, 4))
    )
    (tmp_path / "other").mkdir()
    done, other = spool(tmp_path, spec, [own]), spool(tmp_path / "other", spec, [taken])
    agreed = filled(spec, done, other)
    come = mapped(other.train.file, agreed.columns)
    inode = (tmp_path / "train.0").stat().st_ino
    columns = open_rows(done.train.file, agreed, lambda batches: [*batches, come.slice(1), come])
    assert (tmp_path / "train.0").stat().st_ino == inode
    assert columns["x"].tolist() == [1, 2, 4, 30, 4]
    assert columns["s"][:].tolist() == [b"1", b"2", b"4", b"30", b"4"]
    assert columns["t"][2:].tolist() == [[b"t", b"4"], [b"t", b"30"], [b"t", b"4"]]


def test_nulls_in_a_batch_name_column_count_and_row():
    spec = spec_of(x="int32", y="float32")
    batch = batch_of(spec, [(1, 0.5), (None, 0.1), (None, 2.0)])
    with pytest.raises(
        DataError, match="column 'x' holds nulls: 2 of 3 rows, for example"
    ) as error:
        batch_columns(batch, spec)
    assert "{'x': None, 'y': 0.1}" in str(error.value)


def test_nulls_inside_a_batchs_arrays():
    spec = spec_of(v=("float32", (None,)))
    with pytest.raises(DataError, match="nulls inside: 1 of 2 rows"):
        batch_columns(batch_of(spec, [([1.0],), ([None],)]), spec)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([([[1]],), ([[1], [2]],)], r"lengths: 1 \(1 row\) and 2 \(1 row\)"),
        ([([[1], [2, 3]],)], r"at nesting level 2: 1 \(1 row\) and 2 \(1 row\)"),
    ],
)
def test_ragged_arrays_in_a_batch(rows, message):
    spec = spec_of(m=("int32", (None, None)))
    with pytest.raises(DataError, match=message):
        batch_columns(batch_of(spec, rows), spec)


def test_arrays_of_another_length_than_those_trained_with():
    spec = fill_shapes(spec_of(v=("float32", (None,))), {"v": (3,)})
    with pytest.raises(DataError, match=r"'v' holds arrays of shape \(2,\).*\(3,\)"):
        batch_columns(batch_of(spec, [([1.0, 2.0],)]), spec)
