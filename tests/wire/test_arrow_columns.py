"""Arrays to Arrow columns and back."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from zoo.orca.data import column
from zoo.orca.wire.arrow_columns import for_model, from_numpy, refusal, to_numpy, typed_as
from zoo.orca.wire.padding import PaddedColumn

#: Each of numpy's numbers, and Spark's for it.
NUMBERS = {
    "bool": "bool",
    "int8": "int8",
    "uint8": "int16",
    "int16": "int16",
    "uint16": "int32",
    "int32": "int32",
    "uint32": "int64",
    "int64": "int64",
    "uint64": "int64",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
    "longdouble": "float32",
    ">f4": "float32",
    ">i8": "int64",
}


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 2), (5, 2, 3), (0,), (0, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_any_shape_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    given = (np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
    found = to_numpy(for_model(from_numpy(given)))
    assert found.dtype == NUMBERS[dtype]
    assert found.ndim == given.ndim and len(found) == len(given)
    if len(given):
        np.testing.assert_array_equal(found, given.astype(found.dtype))


def test_an_array_that_lies_otherwise_in_memory_keeps_its_rows() -> None:
    given = np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1)[::-1]
    np.testing.assert_array_equal(to_numpy(from_numpy(given)), given)


def test_text_and_bytes_come_back() -> None:
    for given in (np.array([["a\0c", "bc"], ["", "é"]]), np.array([b"\x00\xff", b"z"])):
        assert to_numpy(for_model(from_numpy(given))).tolist() == given.tolist()


def test_numbers_of_arrow_without_one_of_sparks_are_widened() -> None:
    big = pa.chunked_array([pa.array([2**63], pa.uint64())])
    with pytest.raises(pa.ArrowInvalid):
        for_model(big)
    for kind, value in (
        (pa.list_(pa.uint8(), 2), [255, 1]),
        (pa.large_list(pa.float16()), [0.5]),
        (pa.dictionary(pa.int8(), pa.large_string()), "a"),
        (pa.decimal128(5, 2), Decimal("1.5")),
        (pa.string_view(), "a"),
    ):
        found = for_model(pa.chunked_array([pa.array([value], kind)]))
        assert found.to_pylist() == [value] and not refusal(kind)
        assert for_model(found) is found


@pytest.mark.parametrize("of", [pa.list_view, pa.large_list_view])
def test_views_of_lists_keep_their_elements(of: Callable[[pa.DataType], pa.DataType]) -> None:
    rows = [[[1, 2], []], [[3], [4, 5]], [], [[6]]]
    for kind, given in ((of(pa.int64()), rows[1]), (of(of(pa.float64())), rows)):
        for start in (0, 1):
            chunks = [pa.array(given, kind)[start:], pa.array(given, kind)[:1]]
            found = for_model(pa.chunked_array(chunks))
            assert found.to_pylist() == [*given[start:], given[0]]
            assert pa.types.is_list(found.type)
    inside = pa.array([[[1], None], [[2], [3]]], pa.list_(of(pa.int64())))
    assert for_model(pa.chunked_array([inside])).to_pylist() == inside.to_pylist()


def test_lists_of_several_lengths_are_objects() -> None:
    column = pa.chunked_array([pa.array([[1, 2], [3, 4]]), pa.array([[5]])])
    assert [row.tolist() for row in to_numpy(column)] == [[1, 2], [3, 4], [5]]
    assert to_numpy(column.slice(0, 2)).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.date32(), pa.struct([("a", pa.int8())]), pa.list_(pa.null())]
)
def test_what_no_model_takes_is_told(kind: pa.DataType) -> None:
    assert refusal(kind) == f"has the type {kind}"


@pytest.mark.parametrize(
    ("rows", "asked", "kind"),
    [
        ([], column("h", pad=0), pa.list_(pa.int64())),
        ([[], []], column("h", pad=0.5, length=9), pa.list_(pa.float32())),
        ([[], []], column("h", pad="", length=(3, None)), pa.list_(pa.list_(pa.string()))),
        ([[[]], []], column("h", pad=False), pa.list_(pa.list_(pa.bool_()))),
    ],
)
def test_a_padded_column_without_an_element_has_the_type_of_its_pad(
    rows: list, asked: PaddedColumn, kind: pa.DataType
) -> None:
    found = for_model(typed_as(pa.chunked_array([pa.array(rows)]), asked))
    assert found.type == kind and found.to_pylist() == rows
    known = pa.chunked_array([pa.array([[1]], pa.list_(pa.int8()))])
    assert typed_as(known, asked) is known
