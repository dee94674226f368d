"""Labels that number classes: what is wrong with them, in one error for all workers."""

import numpy as np
import pytest

from zoo.orca.errors import DataError
from zoo.orca.frameworks.common import class_labels
from zoo.orca.frameworks.common.class_labels import check_chances, check_class_labels


class Group:
    """A collective of one thread: gathers what it was told the others would send."""

    def __init__(self, others):
        self.others, self.size = others, 1 + len(others)

    def all_gather(self, data):
        return [data, *self.others]


def refusal(check, *args, **more):
    with pytest.raises(DataError) as caught:
        check(*args, **more)
    first, second = str(caught.value).split("\n")
    return first, second


GOOD = [
    np.array([0, 1, 2]),
    np.array([0, 1, 2], np.uint8),
    np.array([True, False]),
    np.array([0.0, 1.0, 2.0], np.float32),
    np.array([[0, 1], [2, 2]]),
    np.zeros(0, np.int32),
    np.zeros((0, 3), np.float32),
]


@pytest.mark.parametrize("values", GOOD)
def test_good_ones_pass(values):
    check_class_labels("y", values, 3)
    check_class_labels("y", values, None)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_outside(dtype):
    values = np.array([0, 6, 2, 3, -1, 6, 4], dtype)
    first, second = refusal(check_class_labels, "y", values, 3)
    assert first == ("column 'y': label -1 is outside 0…2: 5 of 7 rows, for example -1, 3, 4")
    assert second.startswith("Count classes from 0")
    first, _ = refusal(check_class_labels, "y", np.array([6], dtype), 3, data=" of validation_data")
    assert first == "column 'y' of validation_data: label 6 is outside 0…2: 1 of 1 row"
    check_class_labels("y", values, None)


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_ignored_labels_are_not_looked_at(dtype):
    values = np.array([0, -100, 2, -100], dtype)
    check_class_labels("y", values, 3, ignored=-100)
    first, _ = refusal(check_class_labels, "y", values, 3, ignored=-1)
    assert first == "column 'y': label -100 is outside 0…2: 2 of 4 rows"
    check_class_labels("y", np.array([0, 1.5]), 3, ignored=1.5)


def test_not_whole_and_no_numbers():
    first, second = refusal(check_class_labels, "y", np.array([0, 0.25, 1.5, 9]), 3)
    assert first.startswith("column 'y': label 0.25 is no class, which is a whole number: 2 of 4")
    assert "F.round('y')" in second
    refusal(check_class_labels, "y", np.array([0, 0.25]), None)
    first, second = refusal(check_class_labels, "y", np.array([0, np.nan, np.nan, 0.5]), 3)
    assert first == "column 'y': label nan is no number: 2 of 4 rows"
    first, _ = refusal(check_class_labels, "y", np.array([np.inf, np.nan]), 3)
    assert first.startswith("column 'y': label inf is no number: 2 of 2 rows, for example inf, nan")


def test_rows_are_counted_once_whatever_they_hold():
    values = np.array([[0, 9, 9], [1, 1, 1], [8, 0, 0]])
    first, _ = refusal(check_class_labels, "y", values, 3)
    assert first == "column 'y': label 8 is outside 0…2: 2 of 3 rows, for example 8, 9"


def test_all_ranks_say_the_same():
    shards = [np.array([0, 1, 2]), np.array([7, 1]), np.zeros(0, np.int64), np.array([5, 7, 0])]
    told = []

    class Listening(Group):
        def all_gather(self, data):
            told.append(data)
            return [data]

    for shard in shards:
        try:
            check_class_labels("y", shard, 3, collective=Listening([b"", b""]))
        except DataError:
            continue
    assert len(told) == len(shards)
    found = []
    for shard, own in zip(shards, told, strict=True):
        others = [one for one in told if one is not own]

        class Ordered(Group):
            def all_gather(self, data):
                return list(told)

        found.append(refusal(check_class_labels, "y", shard, 3, collective=Ordered(others)))
    assert len(set(found)) == 1
    assert found[0][0] == "column 'y': label 7 is outside 0…2: 3 of 8 rows, for example 7, 5"


def test_more_rows_than_are_looked_at_together(monkeypatch):
    monkeypatch.setattr(class_labels, "_AT_ONCE", 7)
    values = np.arange(100) % 3
    check_class_labels("y", values, 3)
    values[[5, 50, 99]] = 4, 5, 4
    first, _ = refusal(check_class_labels, "y", values, 3)
    assert first == "column 'y': label 4 is outside 0…2: 3 of 100 rows, for example 4, 5"
    pairs = values.reshape(50, 2)
    assert refusal(check_class_labels, "y", pairs, 3)[0].count("3 of 50 rows") == 1


def test_chances():
    check_chances("y", np.array([0, 1, 1]))
    check_chances("y", np.array([0.0, 0.3, 1.0]))
    first, second = refusal(check_chances, "y", np.array([0, 1, 2, -1]))
    assert first == "column 'y': label -1 is outside 0…1: 2 of 4 rows, for example -1, 2"
    assert "two classes" in second
    assert "nan" in refusal(check_chances, "y", np.array([np.nan, 0]))[0]
