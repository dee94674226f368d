"""Values of a user's own, there and back: equal, or refused with their place."""

import math
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoo.orca.errors import StateError
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.nests import from_state, to_state
from zoo.orca.wire.saved.values import Unsound


def there_and_back(value: Any) -> Any:
    return from_state(State.from_bytes(to_state(value, "own").to_bytes()))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -7, 2**70, 0.1, -math.inf, "", "ü\n", "$tensor", [], (), {}),
        [1, (2, [3, {"a": (None,)}])],
        {"a": 1, 2: "b", (1, "x"): [3], None: 4, "$tuple": 5, 1.5: ()},
        {"$tensor": "value/0", "dtype": "float32"},
    ],
)
def test_values_come_back_equal(value: Any) -> None:
    found = there_and_back(value)
    assert found == value and type(found) is type(value)
    assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint64", "float16", "float32", "float64", "complex64", ">f4", ">i8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3)])
def test_arrays_come_back_equal_and_are_ones_own(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    given = {"a": [array, array.T], "b": array[::-1] if shape else array}
    found = there_and_back(given)
    for one, other in zip([*given["a"], given["b"]], [*found["a"], found["b"]], strict=True):
        np.testing.assert_array_equal(other, one)
        assert other.dtype == one.dtype.newbyteorder("=") and other.shape == one.shape
        assert other.flags.writeable


def test_a_copy_is_taken_at_once() -> None:
    array = np.zeros(3)
    state = to_state({"a": array}, "own", 4)
    array += 1
    np.testing.assert_array_equal(from_state(state)["a"], np.zeros(3))
    assert state.meta["epoch"] == 4


def test_numbers_of_numpy_are_pythons_and_mappings_dicts() -> None:
    point = namedtuple("point", "x y")
    given = OrderedDict(a=np.float32(0.5), b=np.int64(3), c=np.bool_(True), d=point(1, 2))
    found = there_and_back(given)
    assert found == {"a": 0.5, "b": 3, "c": True, "d": (1, 2)}
    assert [type(one) for one in found.values()] == [float, int, bool, tuple]
    assert math.isnan(there_and_back(math.nan))


def itself() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("value", "path", "told"),
    [
        (object(), "", "is of type object"),
        ({"a": [1, {2}]}, "a.1", "is of type set"),
        ({"a": b"bytes"}, "a", "is of type bytes"),
        ([pd.DataFrame({"x": [1]})], "0", "DataFrame"),
        ([np.array(["a"])], "0", "dtype <U1"),
        (np.array([None]), "", "dtype object"),
        (np.ma.masked_array([1, 2], [True, False]), "", "MaskedArray"),
        (np.array(["2020-01-01"], "datetime64[D]"), "", "datetime64"),
        (np.zeros(1, np.longdouble), "", "longdouble" if np.longdouble(1).itemsize < 16 else "128"),
        ({frozenset(): 1}, "", "a key of type frozenset"),
        ("\ud800", "", "not text"),
        (1 << 2000, "", "2001 bits"),
        (itself(), "", "nested too deeply"),
        (1 + 2j, "", "is of type complex"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_cannot_travel_is_named_with_its_place(value: Any, path: str, told: str) -> None:
    with pytest.raises(Unsound) as caught:
        to_state(value, "own")
    assert told in caught.value.told
    assert caught.value.path.startswith(path)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"value": {"$tensor": "other", "dtype": "float32"}},
        {"value": {"$tuple": 3}},
        {"value": {"$pairs": [[{"a": 1}, 2]]}},
        {"value": {"$other": 1}},
    ],
)
def test_a_damaged_state_is_an_error(meta: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="damaged"):
        from_state(State({}, meta))
