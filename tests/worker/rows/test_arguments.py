"""Arguments of a column function: the same columns as the JVM makes of a DataFrame's."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from zoo.orca.errors import ColumnError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec
from zoo.orca.wire.padding import Padding
from zoo.orca.wire.predicting.argument_names import argument_names
from zoo.orca.worker.rows.arguments import Arguments, columns_of

pytestmark = pytest.mark.timeout(60)

VECTOR = pa.struct(
    {
        "type": pa.int8(),
        "size": pa.int32(),
        "indices": pa.list_(pa.int32()),
        "values": pa.list_(pa.float64()),
    }
)


def one(name: str = "x", shape: tuple[int | None, ...] = (), **more: Any) -> ColumnSpec:
    return ColumnSpec(**{"name": name, "dtype": "float32", "shape": shape, **more})


def stack(*names: str, shape: tuple[int | None, ...] = (None,)) -> ColumnSpec:
    return one(f"[{', '.join(names)}]", shape, parts=names)


def columns(*features: ColumnSpec) -> FeatureSpec:
    return FeatureSpec(features=features)


def made(
    spec: FeatureSpec, *arrays: pa.Array, numbers_only: str = ""
) -> tuple[FeatureSpec, pa.RecordBatch]:
    """The job's columns, and the batch that is made of the arguments."""
    arguments = Arguments(spec, [array.type for array in arrays], numbers_only)
    return arguments.columns, arguments.batch(arrays)


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "shape", "found"),
    [
        ([True, False], pa.bool_(), "bool", (), [True, False]),
        ([-128, 127], pa.int8(), "int32", (), [-128, 127]),
        ([1 << 14], pa.int16(), "int32", (), [1 << 14]),
        ([16777217], pa.int32(), "int32", (), [16777217]),
        ([1 << 60], pa.int64(), "int64", (), [1 << 60]),
        ([0.1], pa.float64(), "float32", (), [float(np.float32(0.1))]),
        ([1e300], pa.float64(), "float32", (), [float("inf")]),
        ([Decimal("0.1")], pa.decimal128(20, 1), "float32", (), [float(np.float32(0.1))]),
        (["ö"], pa.string(), "string", (), ["ö".encode()]),
        (["a"], pa.large_string(), "string", (), [b"a"]),
        ([[1.0, 2.0]], pa.list_(pa.float64()), "float32", (None,), [[1.0, 2.0]]),
        ([[1], [2, 3]], pa.large_list(pa.int16()), "int32", (None,), [[1], [2, 3]]),
        ([[[1], []]], pa.list_(pa.list_(pa.int64())), "int64", (None, None), [[[1], []]]),
        ([["a"]], pa.list_(pa.string()), "string", (None,), [[b"a"]]),
        ([[Decimal("2.5")]], pa.list_(pa.decimal128(9, 1)), "float32", (None,), [[2.5]]),
    ],
)
def test_types_follow_the_arguments(
    values: Any, kind: pa.DataType, dtype: str, shape: Any, found: Any
) -> None:
    spec, batch = made(columns(one()), pa.array(values, kind))
    assert (spec.features[0].dtype, spec.features[0].shape) == (dtype, shape)
    assert batch.column(0).to_pylist() == found
    assert batch.schema.names == ["c0"]


def test_every_number_that_digits_write_is_the_nearest_float() -> None:
    numbers = np.random.default_rng(0).integers(-(10**11), 10**11, 2000).tolist()
    digits = pa.array([Decimal(one).scaleb(-7) for one in numbers], pa.decimal128(12, 7))
    _, batch = made(columns(one()), digits)
    expected = np.array([str(value) for value in digits.to_pylist()]).astype(np.float32)
    np.testing.assert_array_equal(batch.column(0).to_numpy(), expected)


def vectors(rows: list[Any]) -> pa.Array:
    return pa.array(rows, VECTOR)


DENSE = {"type": 1, "size": None, "indices": None, "values": [1.0, 2.0, 3.0]}
SPARSE = {"type": 0, "size": 4, "indices": [1, 3], "values": [5.0, 7.0]}
EMPTY = {"type": 0, "size": 2, "indices": [], "values": []}


@pytest.mark.parametrize("rows", [[DENSE, DENSE], [DENSE, SPARSE, EMPTY], [SPARSE], []])
def test_vectors_are_arrays(rows: list[Any]) -> None:
    whole = {id(DENSE): [1.0, 2.0, 3.0], id(SPARSE): [0.0, 5.0, 0.0, 7.0], id(EMPTY): [0.0, 0.0]}
    expected = [whole[id(row)] for row in rows]
    for array, wanted in (
        (vectors(rows), expected),
        (vectors([DENSE, *rows, None]).slice(1), [*expected, None]),
    ):
        spec, batch = made(columns(one()), array)
        assert batch.column(0).to_pylist() == wanted
        assert batch.column(0).type == pa.list_(pa.float32())
        assert spec.features[0].shape == (None,)


def test_a_stack_puts_numbers_arrays_and_vectors_end_to_end() -> None:
    spec, batch = made(
        columns(stack("a", "b", "c", "d")),
        pa.array([1, 2], pa.int32()),
        pa.array([[10.0, 11.0], []], pa.list_(pa.float64())),
        vectors([SPARSE, DENSE]),
        pa.array([True, False]),
    )
    assert batch.column(0).to_pylist() == [
        [1.0, 10.0, 11.0, 0.0, 5.0, 0.0, 7.0, 1.0],
        [2.0, 1.0, 2.0, 3.0, 0.0],
    ]
    assert spec.features[0].shape == (None,) and spec.features[0].dtype == "float32"


def test_a_stack_of_numbers_is_of_the_widest_and_knows_its_length() -> None:
    kinds = [pa.int32(), pa.int64(), pa.bool_()]
    arrays = [pa.array([one], kind) for one, kind in zip((3, 1 << 40, True), kinds, strict=True)]
    spec, batch = made(columns(stack("a", "b", "c")), *arrays)
    assert (spec.features[0].dtype, spec.features[0].shape) == ("int64", (3,))
    assert batch.column(0).to_pylist() == [[3, 1 << 40, 1]]
    _, text = made(columns(stack("a", "b")), pa.array(["x", "z"]), pa.array(["y", ""]))
    assert text.column(0).to_pylist() == [[b"x", b"y"], [b"z", b""]]


def test_nulls_stay_for_the_child_to_tell_of() -> None:
    numbers, lists = pa.array([1.0, None]), pa.array([None, [2.0]], pa.list_(pa.float64()))
    _, batch = made(columns(stack("a", "b")), numbers, lists)
    assert batch.column(0).to_pylist() == [None, [None, 2.0]]
    assert made(columns(one()), numbers)[1].column(0).to_pylist() == [1.0, None]


def test_slices_are_as_good_as_whole_arrays() -> None:
    lists = pa.array([[9.0], [1.0, 2.0], [3.0]]).slice(1)
    numbers = pa.array([9.0, 5.0, 6.0]).slice(1)
    _, batch = made(columns(stack("a", "b")), numbers, lists)
    assert batch.column(0).to_pylist() == [[5.0, 1.0, 2.0], [6.0, 3.0]]


def test_a_column_is_an_argument_once_and_a_mask_none() -> None:
    padded = one("h", (3,), dtype="int32", padding=Padding(value=0))
    mask = one("m", (3,), dtype="bool", mask_of="h")
    spec = FeatureSpec(features=(stack("a", "b"), one("a"), padded, mask))
    assert argument_names(spec) == ["a", "b", "h"]
    history = pa.array([[1, 2], []], pa.list_(pa.int64()))
    found, batch = made(spec, pa.array([1.0, 2.0]), pa.array([3, 4]), history)
    assert [one.dtype for one in found.features] == ["float32", "float32", "int64", "bool"]
    assert [one.shape for one in found.features] == [(2,), (), (3,), (3,)]
    assert batch.to_pydict() == {"c0": [[1, 3], [2, 4]], "c1": [1, 2], "c2": [[1, 2], []]}


@pytest.mark.parametrize(
    ("spec", "kinds", "cause"),
    [
        (columns(one("a"), one("b")), [pa.int32()], "got 1 column, and the model has 2: a, b"),
        (columns(one("a")), [], "got 0 columns, and the model has 1: a"),
        (columns(one("when")), [pa.timestamp("us")], "'when' has the type timestamp"),
        (columns(one("a")), [pa.struct({"b": pa.int32()})], "'a' has the type struct"),
        (columns(stack("a", "b")), [pa.string(), pa.int32()], "strings and numbers"),
        (columns(stack("a", "b")), [pa.list_(pa.list_(pa.int32())), pa.int32()], "'a' holds"),
        (
            columns(one("h", (3,), padding=Padding(value=0.0))),
            [pa.float32()],
            "'h' holds float32, and what is padded are arrays of float32",
        ),
    ],
)
def test_what_the_model_cannot_take_is_refused(
    spec: FeatureSpec, kinds: list[pa.DataType], cause: str
) -> None:
    with pytest.raises(ColumnError) as caught:
        Arguments(spec, kinds, "")
    first, second = str(caught.value).split("\n")
    assert cause in first and second


def test_strings_are_refused_where_there_are_no_tensors_of_them() -> None:
    with pytest.raises(ColumnError, match="column 'x' holds strings, and PyTorch has no tensors"):
        made(columns(one()), pa.array(["a"]), numbers_only="PyTorch")


def test_one_argument_comes_without_a_tuple() -> None:
    array = pa.array([1])
    assert list(columns_of(iter([array]))) == [(array,)]
    assert list(columns_of(iter([(array, array)]))) == [(array, array)]
