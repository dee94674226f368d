"""Spooling: rows to files, faults to findings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.some_rows import batch_of, filled, nested, problem_of, spec_of, spool
from zoo.orca.wire.faults import OTHER_LENGTHS
from zoo.orca.wire.messages.rows import TO_PEERS
from zoo.orca.worker.rows.dataset import open_rows

pytestmark = pytest.mark.timeout(120)

X = spec_of(x="int32")
XV = spec_of(x="int32", v=("float32", (None,)))
M = spec_of(m=("int32", (None, None)))


def test_a_column_is_a_file_of_its_values(tmp_path):
    spec = spec_of(**{"odd. `name": "int32", "v": ("bool", (None,)), "s": "string"})
    rows = [(1, [True, False], b"one"), (2, [True, True], b"")]
    done = spool(tmp_path, spec, [batch_of(spec, rows)])
    assert (done.train.file, done.validation) == (str(tmp_path / "train"), None)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found.pop("train.places") == bytes(16)
    assert found.pop("train.2.ends") == np.array([0, 3, 3], np.int64).tobytes()
    numbers = np.array([1, 2], np.int32).tobytes()
    assert found == {
        "train": b"2",
        "train.0": numbers,
        "train.1": bytes([1, 0, 1, 1]),
        "train.2": b"one",
    }


def test_train_and_validation_part(tmp_path):
    batches = [
        batch_of(XV, [(1, [1.0]), (2, [2.0])], [False, False]),
        batch_of(XV, [(3, [3.0]), (4, [4.0]), (5, [5.0])], [True, False, True]),
        batch_of(XV, [], []),
        batch_of(XV, [(6, [6.0])], [True]),
    ]
    done = spool(tmp_path, XV, batches, validate=True)
    assert (done.train.rows, done.validation.rows) == (3, 3)
    spec = filled(XV, done)
    for name, expected in (("train", [1, 2, 4]), ("validation", [3, 5, 6])):
        rows = open_rows(getattr(done, name).file, spec)
        assert rows["x"].tolist() == expected
        assert rows["v"].tolist() == [[float(x)] for x in expected]


@pytest.mark.parametrize("validate", [False, True])
def test_zero_rows(tmp_path, validate):
    marker = [] if validate else None
    for number, batches in enumerate([[], [batch_of(XV, [], marker)]]):
        directory = tmp_path / str(number)
        directory.mkdir()
        done = spool(directory, XV, batches, validate)
        assert done.train.rows == 0
        assert done.findings == ()
        assert (done.validation is not None and done.validation.rows == 0) == validate


def test_a_rank_without_rows_reads_what_the_others_agreed_on(tmp_path):
    (tmp_path / "other").mkdir()
    empty = spool(tmp_path, XV, [])
    other = spool(tmp_path / "other", XV, [batch_of(XV, [(1, [1.0, 2.0])])])
    rows = open_rows(empty.train.file, filled(XV, empty, other))
    assert rows["x"].shape == (0,)
    assert rows["v"].shape == (0, 2)


def test_what_is_told_arrives_as_it_was(tmp_path):
    done = spool(tmp_path, XV, [batch_of(XV, [(None, [1.0, None]), (1, None)])])
    assert TO_PEERS.from_bytes(done.to_bytes()) == done


def test_nulls_are_counted_over_all_batches(tmp_path):
    batches = [
        batch_of(X, [(1,), (2,)]),
        batch_of(X, [(3,), (None,)]),
        batch_of(X, [(None,), (4,), (None,)]),
    ]
    assert problem_of(X, spool(tmp_path, X, batches)).startswith(
        "column 'x' holds nulls: 3 of 7 rows, for example {'x': None}\n"
    )


def test_nan_is_a_value(tmp_path):
    spec = spec_of(f="float32", v=("float32", (None,)))
    done = spool(tmp_path, spec, [batch_of(spec, [(float("nan"), [float("nan")])])])
    assert np.isnan(open_rows(done.train.file, filled(spec, done))["f"]).all()


def test_nulls_at_every_level(tmp_path):
    batch = batch_of(M, [([[1], [2]],), (None,), ([None, [2]],), ([[1], [None]],), ([[1], None],)])
    outer, inner = problem_of(M, spool(tmp_path, M, [batch])).splitlines()[:3:2]
    assert "'m' holds nulls: 1 of 5 rows, for example {'m': None}" in outer
    assert "nulls inside: 3 of 5 rows, for example {'m': [None, [2]]}" in inner


def test_nulls_in_validation_rows_say_so(tmp_path):
    batch = batch_of(X, [(1,), (None,), (2,)], [False, True, True])
    problem = problem_of(X, spool(tmp_path, X, [batch], validate=True))
    assert "column 'x' of validation_data holds nulls: 1 of 2 rows" in problem


def test_ragged_within_a_batch_and_between_batches(tmp_path):
    spec = spec_of(v=("float32", (None,)))
    within = [batch_of(spec, [([1.0, 2.0, 3.0],), ([4.0, 5.0],), ([6.0, 7.0, 8.0],)])]
    between = [batch_of(spec, [(row,)]) for row in ([1.0, 2.0, 3.0], [4.0, 5.0], [6.0, 7.0, 8.0])]
    for batches in (within, between):
        assert problem_of(spec, spool(tmp_path, spec, batches)).startswith(
            "column 'v' holds arrays of different lengths: 3 (2 rows) and 2 (1 row), "
            "for example {'v': [4.0, 5.0]}\n"
        )


def test_ragged_between_ranks_and_data_sets(tmp_path):
    spec = spec_of(v=("int32", (None,)))
    one, two, both = (tmp_path / name for name in "abc")
    for path in (one, two, both):
        path.mkdir()
    ranks = [spool(p, spec, [batch_of(spec, [(v,)])]) for p, v in ((one, [1]), (two, [1, 2]))]
    assert "1 (1 row) and 2 (1 row)" in problem_of(spec, *ranks)
    mixed = spool(both, spec, [batch_of(spec, [([1],), ([1, 2],)], [False, True])], validate=True)
    assert "training and validation rows together" in problem_of(spec, mixed)


def test_ragged_inside(tmp_path):
    batch = batch_of(M, [([[1, 2], [3, 4]],), ([[1, 2], [3]],)])
    problem = problem_of(M, spool(tmp_path, M, [batch]))
    assert "at nesting level 2: 2 (2 rows) and 1 (1 row)" in problem
    assert "{'m': [[1, 2], [3]]}" in problem


def test_empty_arrays_among_others_are_ragged(tmp_path):
    batches = [batch_of(M, [([],)]), batch_of(M, [([[1]],)])]
    assert "0 (1 row) and 1 (1 row)" in problem_of(M, spool(tmp_path, M, batches))


def test_a_thousand_lengths_stay_a_short_report(tmp_path):
    spec = spec_of(a=("int32", (None,)), b=("int32", (None,)))
    rows = [([0] * length, [1, 2]) for length in range(1000)]
    done = spool(tmp_path, spec, [batch_of(spec, rows)] * 2)
    assert len(done.findings) < 100
    # The other column's one length is told as ever.
    mine = [found for found in done.findings if found.column == "b"]
    assert [(found.length, found.rows) for found in mine] == [(2, 2000)]
    lengths = [found for found in done.findings if found.column == "a"]
    assert sum(found.rows for found in lengths) == 2000
    assert OTHER_LENGTHS in {found.length for found in lengths}
    assert problem_of(spec, done).count("holds arrays") == 1


def test_examples_are_short(tmp_path):
    columns = {"text": "string", "v": ("float32", (None,))} | {f"x{n}": "int32" for n in range(20)}
    spec = spec_of(**columns)
    row = (b"a" * 1000, [0.1] * 1000, None, *range(19))
    (found,) = (
        f for f in spool(tmp_path, spec, [batch_of(spec, [row])]).findings if f.kind == "null"
    )
    assert found.example == (
        "{'x0': None, 'text': '" + "a" * 40 + "...', 'v': [0.1, 0.1, 0.1, 0.1, 0.1, ...], "
        "'x1': 0, 'x2': 1, 'x3': 2, 'x4': 3, 'x5': 4, ...}"
    )


def count_by_hand(rows):
    """Rows that are null, rows with a null inside, and rows by length, of [[int]] values."""
    outer = sum(row is None for row in rows)
    inner = sum(row is not None and any(one is None or None in one for one in row) for row in rows)
    first = [{len(row)} for row in rows if row is not None]
    second = [{len(one) for one in row if one is not None} for row in rows if row is not None]
    lengths = {
        (level, length): sum(length in found for found in rows_of_level)
        for level, rows_of_level in enumerate((first, second))
        for length in set().union(*rows_of_level)
    }
    return outer, inner, lengths


dirty = st.none() | st.lists(
    st.none() | st.lists(st.none() | st.integers(0, 9), max_size=3), max_size=3
)


@given(st.lists(st.lists(dirty, max_size=6), max_size=4))
def test_counts_of_dirty_rows(tmp_path_factory, batches):
    directory = tmp_path_factory.mktemp("spool")
    done = spool(directory, M, [batch_of(M, [(v,) for v in values]) for values in batches])
    found = {(f.kind, f.level, f.length): f.rows for f in done.findings}
    outer, inner, lengths = count_by_hand([value for values in batches for value in values])
    assert found.pop(("null", 0, 0), 0) == outer
    assert found.pop(("null inside", 0, 0), 0) == inner
    assert {key[1:]: rows for key, rows in found.items()} == lengths


@given(st.lists(nested(st.integers(0, 9), (2,)), min_size=1), st.data())
def test_slices_count_only_their_own_rows(tmp_path_factory, rows, data):
    """A batch may be a slice of a larger one, whose other rows may hold anything."""
    spec = spec_of(v=("int32", (None,)))
    dirt = [(None,), ([1, 2, 3],), ([None, 1],)]
    whole = batch_of(spec, [*dirt, *((row,) for row in rows), *dirt])
    done = spool(tmp_path_factory.mktemp("spool"), spec, [whole.slice(3, len(rows))])
    read = open_rows(done.train.file, filled(spec, done))
    assert read["v"].tolist() == rows
