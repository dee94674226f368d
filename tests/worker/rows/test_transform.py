"""What a transform makes of batches of rows, step by step."""

import numpy as np
import pytest

from zoo.orca.errors import DataError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.plans.multiplied import MultipliedPlan
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.worker.rows.steps import Steps
from zoo.orca.worker.rows.transform import (
    Made,
    Transform,
    TransformedColumns,
    factor_of,
    roles,
    takes_random,
)

pytestmark = pytest.mark.timeout(60)

X = FeatureSpec(features=(ColumnSpec(name="x", dtype="int64"),))


def columns_of(function, raw, factor=1, spec=X, training=True, rank=0, threads=2):
    transform = Transform(function, 5)
    transform.threads = threads
    made = Made(spec=spec, factor=factor)
    sample = {column.name: np.zeros((1, *column.shape), np.int64) for column in spec.columns}
    return TransformedColumns(raw, transform, made, sample, training=training, rank=rank)


def chunks(function, counts, rank, factor=1, batch_size=4, count=7, threads=2):
    """All steps' rows of one rank, without what only fills up."""
    plan = PlacedPlan(counts=counts, batch_size=batch_size, seed=1)
    given = MultipliedPlan(given=plan, factor=factor) if factor > 1 else plan
    raw = {"x": np.arange(counts[rank]) + 1000 * rank}
    made = columns_of(function, raw, factor, rank=rank, threads=threads)
    steps = Steps(given, rank, made, dict)
    found = []
    for chunk in steps.take(0, count):
        for step, rows in enumerate(chunk.rows):
            values = chunk.arrays["x"][step]
            assert not values[rows:].any()
            found.append((values[:rows].tolist(), int(chunk.of[step])))
    return found


def negated(columns, training):
    return {"x": -1 - columns["x"]}


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("counts", [(10,), (9, 3), (11, 1, 2)])
def test_steps_are_those_of_the_plan_each_transformed(threads, counts):
    plan = PlacedPlan(counts=counts, batch_size=4, seed=1)
    for rank in range(len(counts)):
        orders = plan.steps(rank)
        for step, (found, of) in enumerate(chunks(negated, counts, rank, threads=threads)):
            assert found == (-1 - (next(orders) + 1000 * rank)).tolist()
            assert of == min(4, plan.rows - step % plan.steps_per_pass * 4)


def test_several_rows_for_one_count_as_many():
    def thrice(columns, training):
        return {"x": np.repeat(columns["x"], 3) * 10 + np.tile([1, 2, 3], len(columns["x"]))}

    plan = PlacedPlan(counts=(9, 3), batch_size=4, seed=1)
    for rank in (0, 1):
        for order, (found, of) in zip(
            plan.steps(rank), chunks(thrice, (9, 3), rank, 3), strict=False
        ):
            rows = order + 1000 * rank
            assert found == [10 * row + number for row in rows for number in (1, 2, 3)]
            assert of == 12


def test_random_numbers_depend_on_seed_step_rank_and_training_alone():
    def drawn(columns, training, random):
        return {"x": random.integers(0, 1 << 40, len(columns["x"]))}

    found = {
        threads: [chunks(drawn, (8, 8), rank, threads=threads) for rank in (0, 1)]
        for threads in (1, 3)
    }
    assert found[1] == found[3]
    whole = [values for rank in found[1] for values, _ in rank]
    assert len({tuple(values) for values in whole}) == len(whole)
    transform = Transform(drawn, 5)
    rows = {"x": np.arange(4)}
    one, other = (transform(rows, training=t, place=(0, 0))["x"] for t in (True, False))
    assert (one != other).any()
    assert (Transform(drawn, 6)(rows, training=True, place=(0, 0))["x"] != one).any()


def test_a_step_without_rows_calls_nothing():
    called = []

    def noted(columns, training):
        called.append(len(columns["x"]))
        return columns

    assert all(not rows for rows, _ in chunks(noted, (12, 0), 1))
    assert not called


def test_the_first_error_of_a_step_is_kept():
    def failing(columns, training):
        raise KeyError("nothing")

    columns = columns_of(failing, {"x": np.arange(3)})
    with pytest.raises(KeyError):
        columns.gather([np.arange(3)], 0)
    assert isinstance(columns.problem, KeyError)


def test_checks_see_every_step():
    columns = columns_of(negated, {"x": np.arange(6)})
    seen = []
    columns.check_each("x", lambda values: seen.extend(values.tolist()))
    columns.gather([np.arange(3), np.arange(3, 6)], 0)
    assert sorted(seen) == [-6, -5, -4, -3, -2, -1]


def test_what_a_function_may_write_into_is_its_own():
    def writing(columns, training):
        columns["x"][0] = 7
        return columns

    rows = np.arange(3)
    rows.flags.writeable = False
    found = Transform(writing, 0)({"x": rows}, training=False, place=())
    assert found["x"].tolist() == [7, 1, 2]
    assert rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([1], np.uint8), "int32"),
        (np.array([1], np.int16), "int32"),
        (np.array([1], np.uint32), "int64"),
        (np.array([1.0]), "float32"),
        (np.array([1.0], np.float16), "float32"),
        (np.array([True]), "bool"),
        ([1, 2], "int64"),
        (np.array(["é"]), "object"),
        (np.array([b"a"]), "object"),
        (["a", b"b"], "object"),
    ],
)
def test_dtypes_become_those_that_columns_have(given, dtype):
    found = Transform(lambda columns, training: {"x": given}, 0)({}, training=True, place=())
    assert found["x"].dtype == dtype
    if dtype == "object":
        assert all(isinstance(one, bytes) for one in found["x"])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, "batch_transform returned a NoneType and not a dict of arrays"),
        ([1], "batch_transform returned a list and not a dict of arrays"),
        ({"x": 1}, "batch_transform returned 'x' as a int, which has no rows"),
        ({"x": [1], "y": [1, 2]}, "arrays of different numbers of rows: {'x': 1, 'y': 2}"),
        ({"x": np.array([1j])}, "'x' as an array of complex128, which no model takes"),
        ({"x": np.array([[1], None], object)}, "'x' as an array of object, which no model takes"),
    ],
)
def test_what_is_no_batch_is_refused(made, told):
    with pytest.raises(DataError) as caught:
        Transform(lambda columns, training: made, 0)({}, training=True, place=())
    cause, way = str(caught.value).splitlines()
    assert told in cause and way


def test_the_number_of_rows_may_grow_in_training_alone():
    assert factor_of(6, 2, training=True) == 3
    assert factor_of(2, 2, training=False) == 1
    for made, training in ((4, False), (3, True), (1, True), (0, True)):
        with pytest.raises(DataError, match=f"batch_transform returned {made} rows for 2\n"):
            factor_of(made, 2, training=training)


def test_roles_follow_the_names():
    raw = FeatureSpec(
        features=(ColumnSpec(name="png", dtype="string"), ColumnSpec(name="u", dtype="int32")),
        labels=(ColumnSpec(name="y", dtype="int32"),),
        feature_keys=("image", "user"),
        weight=ColumnSpec(name="w", dtype="float32"),
    )
    arrays = {
        "pixels": np.zeros((2, 3), np.float32),
        "u": np.zeros(2, np.int32),
        "y": np.zeros(2, np.float32),
        "w": np.ones(2, np.float32),
    }
    found = roles(arrays, raw)
    assert [(one.name, one.dtype, one.shape) for one in found.features] == [
        ("pixels", "float32", (3,)),
        ("u", "int32", ()),
    ]
    assert found.feature_keys == ("pixels", "user")
    assert (found.labels[0].dtype, found.weight.name) == ("float32", "w")
    with pytest.raises(DataError, match=r"without \['y', 'w'\], which are labels or weights"):
        roles({"pixels": arrays["pixels"]}, raw)
    with pytest.raises(DataError, match="none of it is an input of the model"):
        roles({"y": arrays["y"], "w": arrays["w"]}, raw)


def test_a_label_that_is_a_feature_too_stays_both():
    both = ColumnSpec(name="x", dtype="float32")
    found = roles({"x": np.zeros(2, np.float32)}, FeatureSpec(features=(both,), labels=(both,)))
    assert found.features == found.labels == (both,)


def test_a_third_argument_is_a_generator():
    assert takes_random(lambda columns, training, random: columns)
    assert takes_random(lambda *arguments: arguments[0])
    assert not takes_random(lambda columns, training: columns)
    assert not takes_random(print.__class__)
