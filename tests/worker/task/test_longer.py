"""A prediction that cuts arrays says so, once a task."""

import logging

import pytest

from tests.worker.some_rows import batch_of
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import Padding
from zoo.orca.worker.task.longer import Longer

pytestmark = pytest.mark.timeout(60)

PADDING = Padding(value=0, keep="first")
SPEC = FeatureSpec(
    features=(
        ColumnSpec(name="x", dtype="int32", shape=(1,)),
        ColumnSpec(name="h", dtype="int32", shape=(2,), padding=PADDING),
        ColumnSpec(name="m", dtype="int32", shape=(None, 1), padding=PADDING),
    )
)


def told(caplog, *batches):
    longer = Longer(SPEC.columns)
    with caplog.at_level(logging.WARNING):
        for rows in batches:
            longer.look_at([batch_of(SPEC, rows)])
    return [record.getMessage() for record in caplog.records]


def test_arrays_that_fit_are_not_spoken_of(caplog):
    # A column that is not padded has an error of its own, elsewhere.
    assert told(caplog, [([1, 2, 3], [1, 2], [[1]])], [([1], [], [])]) == []


def test_the_first_array_that_is_cut_is_told_once(caplog):
    (line,) = told(caplog, [([1], [1], [])], [([1], [1, 2, 3], [])], [([1], [1, 2, 3, 4], [])])
    assert line.startswith("column 'h' has arrays of 3 elements, and the model takes 2: predict ke")
    assert "keeps the first" in line


def test_inner_arrays_count_too(caplog):
    (line,) = told(caplog, [([1], [1], [[1], [1, 2]])])
    assert "column 'm' has arrays of 2 elements, and the model takes 1" in line
