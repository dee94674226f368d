"""One answer from the findings of all workers."""

from dataclasses import replace

import pytest

from zoo.orca.wire.faults import OTHER_LENGTHS, agree, merge
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.messages.rows import TO_PEERS, DataSet, Finding, Spooled

pytestmark = pytest.mark.timeout(120)

SPEC = FeatureSpec(
    features=(
        ColumnSpec(name="x", dtype="int32"),
        ColumnSpec(name="v", dtype="float32", shape=(None,)),
    ),
    labels=(ColumnSpec(name="m", dtype="float32", shape=(None, None)),),
)


def report(*findings, train=0, validation=0):
    """What a rank tells the others, through bytes as it travels."""
    told = Spooled(
        train=DataSet(train, "t"), validation=DataSet(validation, "v"), findings=findings
    )
    return TO_PEERS.from_bytes(told.to_bytes())


def finding(column, data, kind, rows, example):
    return Finding(column=column, data=data, kind=kind, rows=rows, example=example)


def length(column, level, length, rows, data="train", example="{...}"):
    return Finding(
        column=column,
        data=data,
        kind="length",
        rows=rows,
        example=example,
        level=level,
        length=length,
    )


def test_shapes_of_ranks_that_agree():
    one = report(length("v", 0, 3, 10), length("m", 0, 2, 10), length("m", 1, 4, 10), train=10)
    other = report(length("v", 0, 3, 1), length("m", 0, 2, 1), length("m", 1, 4, 1), train=1)
    assert agree(SPEC, [one, other]) == ({"v": (3,), "m": (2, 4)}, "")


def test_a_rank_without_rows_has_no_say():
    one = report(length("v", 0, 3, 1), length("m", 0, 1, 1), length("m", 1, 4, 1), train=1)
    assert agree(SPEC, [report(), one]) == ({"v": (3,), "m": (1, 4)}, "")


def test_without_rows_no_shape_is_known():
    assert agree(SPEC, [report(), report()]) == ({"v": (None,), "m": (None, None)}, "")


def test_inside_empty_lists_lengths_are_zero():
    one = report(length("v", 0, 0, 1), length("m", 0, 0, 1), train=1)
    assert agree(SPEC, [one]) == ({"v": (0,), "m": (0, 0)}, "")


def test_nulls_are_added_over_ranks():
    one = report(finding("x", "train", "null", 1, "{'x': None, 'y': 3}"), train=400)
    other = report(finding("x", "train", "null", 2, "{'x': None}"), train=600)
    assert agree(SPEC, [one, other])[1] == (
        "column 'x' holds nulls: 3 of 1,000 rows, for example {'x': None, 'y': 3}\n"
        "Drop these rows with df.na.drop(subset=['x']), or fill them: df.fillna(0, subset=['x']), "
        "or with the mean, by pyspark.ml.feature.Imputer(inputCol='x', ...)"
    )


def test_nulls_inside_arrays_of_validation_data():
    found = report(finding("v", "validation", "null inside", 1, "{'v': [None]}"), validation=1)
    assert agree(SPEC, [found])[1] == (
        "column 'v' of validation_data holds arrays with nulls inside: 1 of 1 row, for example "
        "{'v': [None]}\nDrop these rows with df.where('not exists(v, x -> x is null)'), "
        "or fill them: F.transform('v', lambda x: F.coalesce(x, F.lit(0.0)))"
    )


def test_lengths_that_differ_between_ranks():
    many = report(length("v", 0, 3, 997, example="{'v': [1, 2, 3]}"), train=997)
    few = report(length("v", 0, 2, 3, example="{'v': [1, 2]}"), train=3)
    assert agree(SPEC, [many, few])[1] == (
        "column 'v' holds arrays of different lengths: 3 (997 rows) and 2 (3 rows), for example "
        "{'v': [1, 2]}\nPad them: from zoo.orca.data import column, and column('v', pad=0.0) in "
        "place of 'v'; length= limits them"
    )


def test_lengths_that_differ_between_training_and_validation():
    one = report(
        length("v", 0, 3, 5), length("v", 0, 2, 4, data="validation"), train=5, validation=4
    )
    assert "training and validation rows together" in agree(SPEC, [one])[1]


def test_lengths_that_differ_inside():
    one = report(
        length("m", 0, 2, 5), length("m", 1, 2, 5), length("m", 1, 9, 1, example="{'m': 9}")
    )
    assert "different lengths at nesting level 2: 2 (5 rows) and 9 (1 row)" in agree(SPEC, [one])[1]


def test_a_stack_of_different_lengths_cannot_be_padded():
    stack = ColumnSpec(name="[x, v]", dtype="float32", shape=(None,), parts=("x", "v"))
    one = report(length(stack.name, 0, 3, 5), length(stack.name, 0, 2, 4), train=9)
    problem = agree(FeatureSpec(features=(stack,)), [one])[1]
    assert problem.endswith(
        "\nAll rows must have one length: pad or cut them, or drop those that differ"
    )


def test_many_lengths_are_summed_up():
    lengths = [length("v", 0, n, 100 - n) for n in range(10)]
    lengths.append(length("v", 0, OTHER_LENGTHS, 7))
    problem = agree(SPEC, [report(*lengths, train=1000)])[1]
    assert "0 (100 rows), 1 (99 rows), 2 (98 rows), 3 (97 rows) and others (568 rows)" in problem


def test_every_column_at_fault_is_named():
    found = [finding(name, "train", "null", 1, "{...}") for name in ("x", "v")]
    lines = agree(SPEC, [report(*found, train=1)])[1].splitlines()
    # Each with its way out.
    assert [line[:10] for line in lines] == ["column 'x'", "Drop these", "column 'v'", "Drop these"]


@pytest.mark.parametrize("name", ["a.b", "a b", "a`b", "größe"])
def test_odd_names_are_quoted_in_the_advice(name):
    spec = FeatureSpec(features=(ColumnSpec(name=name, dtype="int32"),))
    found = report(finding(name, "train", "null", 1, "{...}"), train=1)
    assert f"subset=['`{name.replace('`', '``')}`']" in agree(spec, [found])[1]


def test_merge_keeps_what_differs_apart():
    found = [length("v", 0, 3, 1), length("v", 1, 3, 1), length("v", 0, 3, 1, data="validation")]
    assert merge(found + found) == [replace(f, rows=2) for f in found]
