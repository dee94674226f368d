"""What a user may ask of a column whose arrays have unequal lengths."""

import json

import numpy as np
import pytest

from zoo.orca.data import column
from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.features import ColumnSpec, FeatureSpec, fill_shapes
from zoo.orca.wire.padding import USUAL, Padding, asked
from zoo.orca.wire.plans.order import window_rows

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("dtype", USUAL)
def test_the_usual_value_of_each_dtype_is_one(dtype):
    wanted = column("h", pad=eval(USUAL[dtype]))
    padding = wanted.padding(dtype)
    assert padding.fill == eval(USUAL[dtype]) or padding.fill == b""
    assert asked("h", padding, (None,), None).padding(dtype) == padding


@pytest.mark.parametrize(
    ("pad", "dtype"),
    [
        (0.5, "int32"),
        (1 << 31, "int32"),
        (1 << 60, "int64"),
        (True, "int64"),
        (0, "bool"),
        (True, "float32"),
        (float("nan"), "float32"),
        (1e39, "float32"),
        ("", "float32"),
        (0, "string"),
    ],
)
def test_a_value_of_another_type_is_refused_with_one_that_does(pad, dtype):
    with pytest.raises(InvalidInputError) as caught:
        column("h", pad=pad).padding(dtype)
    cause, way = str(caught.value).splitlines()
    assert cause == f"column('h'): pad={pad!r} is not a value of {dtype}, as the column holds"
    assert way == f"Write pad={USUAL[dtype]}, or another value of that type"


def test_numbers_of_numpy_are_taken_for_pythons():
    own = column("h", pad=0, length=(50, None))
    assert column("h", pad=np.int32(0), length=(np.int64(50), None)) == own
    assert column("h", pad=np.float32(0.5)).pad == 0.5
    assert type(column("h", length=np.int64(50)).length) is int


def test_whole_numbers_pad_floats_and_text_pads_bytes():
    assert column("h", pad=1).padding("float32") == Padding(value=1.0)
    assert column("h", pad="é").padding("string").fill == "é".encode()
    assert column("h", pad=b"\xff\x00").padding("string").fill == b"\xff\x00"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"length": 0}, "length is a whole number from 1 on"),
        ({"length": -1}, "length is a whole number from 1 on"),
        ({"length": True}, "length is a whole number from 1 on"),
        ({"length": 2.0}, "length is a whole number from 1 on"),
        ({"length": ()}, "length is a whole number from 1 on"),
        ({"length": (2, 0)}, "length is a whole number from 1 on"),
        ({"keep": "middle"}, "keep is 'first' or 'last'; got 'middle'"),
        ({"mask": ""}, "mask is the name of an input; got ''"),
        ({"mask": True}, "mask is the name of an input; got True"),
        ({"pad": None}, "pad is one value of the column's type; got None"),
        ({"pad": [0]}, "pad is one value of the column's type; got [0]"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, told):
    with pytest.raises(InvalidInputError) as caught:
        column("h", **arguments)
    cause, way = str(caught.value).splitlines()
    assert cause.startswith(f"column('h'): {told}")
    argument = eval(f"dict({way.removeprefix('Write ').partition(', or')[0]})")
    column("h", **argument)


@pytest.mark.parametrize("name", ["", None, ["a", "b"]])
def test_a_name_that_is_none(name):
    with pytest.raises(InvalidInputError, match="column takes the name of a column"):
        column(name)


def test_lengths_belong_to_levels():
    assert column("h").lengths(3) == (None, None, None)
    assert column("h", length=5).lengths(1) == column("h", length=(5,)).lengths(1) == (5,)
    assert column("h", length=(5, None)).lengths(2) == (5, None)
    with pytest.raises(InvalidInputError) as caught:
        column("h", length=5).lengths(2)
    assert "nested 1 deep, and those of the column are nested 2 deep" in str(caught.value)
    way = str(caught.value).splitlines()[1]
    assert way == "Write length=(5, None); None takes the longest of all rows"
    with pytest.raises(InvalidInputError, match="Write length=5;"):
        column("h", length=(5, 6)).lengths(1)


def test_a_spec_keeps_padding_and_mask_as_json():
    padded = ColumnSpec(
        name="h", dtype="string", shape=(3, None), padding=Padding(value="\xff", keep="first")
    )
    mask = ColumnSpec(name="m", dtype="bool", shape=(3, None), mask_of="h")
    spec = FeatureSpec(features=(padded, mask), feature_keys=("in", "m"))
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_column_without_padding_is_kept_as_by_earlier_releases():
    kept = ColumnSpec(name="x", dtype="int32").to_json()
    assert set(kept) == {"name", "dtype", "shape", "parts", "binary", "arrays"}
    assert ColumnSpec.from_json(kept) == ColumnSpec(name="x", dtype="int32")


def test_masks_do_not_travel_but_have_their_columns_shapes_and_width():
    padded = ColumnSpec(name="h", dtype="int32", shape=(None,), padding=Padding(value=0))
    mask = ColumnSpec(name="m", dtype="bool", shape=(None,), mask_of="h")
    spec = FeatureSpec(features=(padded, mask))
    assert (spec.columns, spec.masks) == ((padded,), (mask,))
    assert (spec.mask_name(padded), spec.mask_name(mask)) == ("m", "")
    filled = fill_shapes(spec, {"h": (4,)})
    assert [one.shape for one in filled.features] == [(4,), (4,)]
    # Four numbers of four bytes, four of one, and the place in the order.
    assert window_rows(filled, 28 * 10) == 10
