"""Texts that stay in their file."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from tests.worker.some_rows import filled, spec_of, spool
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.texts import Texts

pytestmark = pytest.mark.timeout(60)

FLAT = [b"a", b"", b"ccc", b"d", b"ee", b"\xff"]


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 1, 3)])
@pytest.mark.parametrize(
    "rows",
    [0, -1, np.int64(1), slice(None), slice(1, 2), slice(5, 1), slice(None, None, -1), [1, 0, 1]]
    + [np.array([], np.int64), np.array([-1, 0])],
)
def test_what_is_taken_is_what_an_array_gives(shape, rows):
    array = np.array(FLAT, object).reshape(shape)
    texts = Texts(pa.array([b"before", *FLAT], pa.large_binary())[1:], shape)
    assert (texts.dtype, texts.ndim, len(texts)) == (array.dtype, array.ndim, len(array))
    found, expected = texts[rows], array[rows]
    if isinstance(expected, bytes):
        assert found == expected
        return
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    if not isinstance(rows, slice):
        np.testing.assert_array_equal(np.take(texts, rows, axis=0), np.take(array, rows, axis=0))
    np.testing.assert_array_equal(texts[array[:] != 1] if array.ndim == 1 else texts[:], array)


def test_rows_that_are_not_there():
    texts = Texts(pa.array(FLAT, pa.large_binary()), (6,))
    with pytest.raises(IndexError, match="rows 6 to 6 of 6"):
        texts[6]
    with pytest.raises(IndexError, match="axis=1"):
        np.take(texts, [0], axis=1)


def test_texts_are_mapped_not_read(tmp_path):
    """32 MB of them, of which a step takes some rows."""
    spec = spec_of(s="string")
    length, rows = 1000, 8000
    batch = pa.RecordBatch.from_arrays([pa.array([b"x" * length] * rows, pa.binary())], ["c0"])
    done = spool(tmp_path, spec, _with_places([batch] * 4))
    allocated = pa.total_allocated_bytes()
    tracemalloc.start()
    texts = open_rows(done.train.file, filled(spec, done))["s"]
    assert len(texts) == 4 * rows
    for start in range(0, len(texts), rows):
        assert texts[np.arange(start, start + rows, 80)].tolist() == [b"x" * length] * 100
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 100 * length
    assert pa.total_allocated_bytes() - allocated < 10 * 100 * length


def _with_places(batches):
    """The batches with the partitions and the places of their rows."""
    for batch in batches:
        zeros = np.zeros(batch.num_rows, np.int64)
        yield batch.append_column("origin", pa.array(zeros, pa.int32())).append_column(
            "place", pa.array(zeros)
        )
