"""Labels that are no numbers of classes are found, counted and told with the way out."""

import numpy as np
import pytest

from zoo.orca.errors import DataError
from zoo.orca.frameworks.class_labels import (
    Wrong,
    check_class_labels,
    message,
    together,
    wrong_labels,
)


def refusal(values, classes=3, **more):
    with pytest.raises(DataError) as caught:
        check_class_labels("rating", np.asarray(values), classes, **more)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "uint8"])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2)])
def test_classes_that_there_are(dtype, shape):
    check_class_labels("rating", np.array([0, 2, 1, 2], dtype).reshape(shape), 3)


def test_booleans_empty_columns_and_ignored_numbers_are_classes():
    check_class_labels("flag", np.array([True, False]), 2)
    check_class_labels("rating", np.empty(0, np.int32), 3)
    check_class_labels("rating", np.empty((0, 4), np.float32), 3)
    check_class_labels("rating", np.array([0, -1, 2]), 3, ignored=-1)
    check_class_labels("rating", np.array([0, 255, 2]), 3, ignored=255)


def test_labels_outside_are_counted_and_shown():
    labels = np.array([0, 1, 2, 6, 6, 5, -1, 3, 0, 0], np.int32)
    assert refusal(labels).splitlines() == [
        "label 6 is outside 0…2, in column 'rating': 5 of 10 rows, for example 6, 5, -1",
        "the model's output has 3 classes, counted from 0: count labels from 0, "
        "df.withColumn('rating', F.col('rating') - 1), or give the output more units",
    ]
    assert "2,000 rows" in refusal(np.full(2000, 3))
    assert "0…2 (and -1, which is ignored), " in refusal([0, -1, 3], ignored=-1)


def test_a_row_of_several_labels_counts_once():
    assert "1 of 2 rows, for example 3, 4" in refusal([[3, 4, 4], [0, 1, 2]])


def test_labels_that_are_not_whole():
    first, second = refusal(np.float32([0, 1.5, np.nan, 2])).splitlines()
    assert first == (
        "label 1.5 is not a whole number, in column 'rating': 2 of 4 rows, for example 1.5, nan"
    )
    assert "F.round('rating')" in second


def test_labels_that_are_strings():
    first, second = refusal(np.array([b"cat", b"dog"], object)).splitlines()
    assert first == (
        "label 'cat' is a string, in column 'rating', and the loss takes numbers of classes"
    )
    assert "StringIndexer(inputCol='rating', outputCol='rating_index')" in second


def test_workers_findings_add_up():
    shards = [np.array([0, 7, 7]), np.array([1, 2]), np.array([-3, 7])]
    found = [Wrong.from_json(wrong_labels(shard, 3).to_json()) for shard in shards]
    whole = together(found)
    assert (whole.kind, whole.rows, whole.of, whole.examples) == ("outside", 4, 7, (7, -3))
    assert message("y", whole, 3, where=" of validation_data").startswith(
        "label 7 is outside 0…2, in column 'y' of validation_data: 4 of 7 rows"
    )
    assert not together([wrong_labels(shards[1], 3)] * 2).kind


@pytest.mark.parametrize(
    ("labels", "classes"), [([1, 2, 3, 3], 3), ([0.1, 1.9, 2.0], 3), (["cat", "dog"], 2)]
)
def test_the_ways_out_mend_the_labels(spark, labels, classes):
    from pyspark.ml.feature import StringIndexer
    from pyspark.sql import functions as F

    df = spark.createDataFrame([(label,) for label in labels], ["rating"])

    def values(frame):
        column = frame.columns[-1]
        rows = [row[column] for row in frame.collect()]
        return np.array(rows, object if isinstance(rows[0], str) else None)

    way = refusal(values(df), classes).splitlines()[1]
    start = next(way.index(word) for word in ("df.with", "StringIndexer") if word in way)
    ends = [way.index(end, start) for end in (", or ", ", of ") if end in way[start:]]
    mended = eval(way[start : min(ends)], {"df": df, "F": F, "StringIndexer": StringIndexer})
    check_class_labels("rating", values(mended), classes)
