"""What an output is, and whether its entries are rows: from shapes alone."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.errors import ModelError
from zoo.orca.wire.outputs import OutputSpec, Scale, as_dtype, joined, output_spec, rows_of

pytestmark = pytest.mark.timeout(120)

LENGTHS = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@given(LENGTHS)
def test_two_numbers_of_rows_tell_a_row_from_the_rest(row: tuple[int, ...]) -> None:
    spec = output_spec("out", "float32", {2: (2, *row), 3: (3, *row)})
    assert (spec.row_shape, spec.problem, spec.rank) == (row, "", len(row) + 1)


@given(st.integers(0, 5), LENGTHS)
def test_what_does_not_grow_with_the_rows_is_a_problem(length: int, row: tuple[int, ...]) -> None:
    spec = output_spec("out", "float32", {2: (length, *row), 3: (length, *row)})
    assert spec.problem.startswith("the model's output 'out' has shape (")
    assert len(spec.problem.splitlines()) == 2


@given(st.integers(2, 4))
def test_rows_that_multiply_are_a_problem(times: int) -> None:
    spec = output_spec("out", "float32", {2: (2 * times, 1), 3: (3 * times, 1)})
    assert f"shape ({2 * times}, 1) for 2 rows" in spec.problem


def test_a_scalar_a_rank_that_changes_and_an_odd_dtype_are_problems() -> None:
    assert "shape () for 2 rows" in output_spec("out", "float32", {2: (), 3: ()}).problem
    assert output_spec("out", "float32", {2: (2,), 3: (3, 1)}).problem
    assert "complex64" in output_spec("out", "complex64", {2: (2,), 3: (3,)}).problem


def test_a_model_may_know_its_rows_by_itself() -> None:
    assert output_spec("out", "float16", {None: (None, 5)}) == OutputSpec(
        name="out", dtype="float32", row_shape=(5,)
    )
    assert "(1, 5) for a batch" in output_spec("out", "float32", {None: (1, 5)}).problem


def test_lengths_that_are_not_always_the_same_stay_open() -> None:
    assert output_spec("out", "int64", {2: (2, 7, 4), 3: (3, 9, 4)}).row_shape == (None, 4)


@given(st.integers(1, 6), LENGTHS)
def test_squeezing_loses_nothing(rows: int, row: tuple[int, ...]) -> None:
    squeezed = {count: np.ones((count, *row)).squeeze().shape for count in (2, 3)}
    spec = output_spec("out", "float32", squeezed)
    assert not spec.problem
    output = np.random.default_rng(0).normal(size=(rows, *row)).astype(np.float32)
    found = rows_of(output.squeeze(), rows, spec)
    assert found.shape == (rows, *spec.row_shape)
    np.testing.assert_array_equal(found.reshape(-1), output.reshape(-1))


@given(st.integers(1, 6), LENGTHS, LENGTHS)
def test_a_row_is_never_another_ones(
    rows: int, row: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """Whatever is accepted for several rows has them as its first axis."""
    spec = OutputSpec(name="out", dtype="float32", row_shape=row)
    output = np.zeros(other, np.float32)
    try:
        found = rows_of(output, rows, spec)
    except ModelError:
        return
    assert found.shape[0] == rows and found.ndim == spec.rank
    assert rows == 1 or found.shape == other


def test_an_open_length_of_a_single_row() -> None:
    spec = OutputSpec(name="out", dtype="float32", row_shape=(None, 1, 4))
    assert rows_of(np.ones((7, 4)), 1, spec).shape == (1, 7, 1, 4)
    with pytest.raises(ModelError):
        rows_of(np.ones(7), 1, spec)


def test_dtypes_change_only_where_no_value_does() -> None:
    spec = OutputSpec(name="out", dtype="float32", row_shape=())
    assert as_dtype(np.ones(2, np.float16), spec).dtype == np.float32
    assert as_dtype(np.ones(2, np.float64), spec).dtype == np.float32
    whole = OutputSpec(name="out", dtype="int64", row_shape=())
    assert as_dtype(np.ones(2, np.int32), whole).dtype == np.int64
    with pytest.raises(ModelError, match="float64 now and was of int64"):
        as_dtype(np.ones(2), whole)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1 << 24), ("int32", (1 << 31) - 1)])
def test_whole_numbers_keep_their_value_or_are_refused(dtype: str, most: int) -> None:
    spec = OutputSpec(name="out", dtype=dtype, row_shape=())
    assert as_dtype(np.array([most, -5]), spec).tolist() == [most, -5]
    with pytest.raises(ModelError, match=f"int64 now and was of {dtype}"):
        as_dtype(np.array([most + 1, -5]), spec)


def test_calls_are_joined() -> None:
    spec = OutputSpec(name="out", dtype="float32", row_shape=(2,))
    pieces = [np.ones((2, 2)), np.zeros((1, 2))]
    np.testing.assert_array_equal(joined(pieces, spec), np.concatenate(pieces))
    assert OutputSpec.from_json(spec.to_json()) == spec


def test_one_number_is_a_yes_by_its_scale() -> None:
    def threshold(scale: Scale | None) -> float | None:
        spec = OutputSpec(name="out", dtype="float32", row_shape=(1,), scale=scale)
        assert OutputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
        return spec.threshold

    assert threshold(None) is None
    assert threshold(Scale.PROBABILITIES) == 0.5
    assert threshold(Scale.LOGITS) == 0.0
    assert threshold(Scale.LOGARITHMS) == pytest.approx(np.log(0.5))
