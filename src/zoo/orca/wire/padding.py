"""Columns of arrays of unequal length: what is asked for, and what is kept in a column's spec."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from zoo.orca.errors import InvalidInputError

#: Which elements of a list that is too long stay.
Keep = Literal["first", "last"]
KEEPS: tuple[str, ...] = get_args(Keep)

#: What an array may be padded with.
Pad = bool | int | float | str | bytes

#: What each dtype is padded with if nothing speaks for another value, as a user writes it.
USUAL = {"bool": "False", "int32": "0", "int64": "0", "float32": "0.0", "string": "''"}

# JSON keeps no larger numbers exactly.
_INTEGERS = {"int32": 1 << 31, "int64": 1 << 53}
#: In a header strings are text, and a column's are bytes: each byte is the character of its number.
_BYTES = "latin-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How a column's arrays get the lengths of its shape.

    Parameters
    ----------
    value : bool, int, float or str
        Follows the elements of an array that is too short; for strings, one character a byte.
    keep : str
        Which elements stay of an array that is too long: the "first" or the "last".
    """

    value: bool | int | float | str
    keep: str = "last"

    @property
    def fill(self) -> bool | int | float | bytes:
        """The value as the arrays hold it."""
        return self.value.encode(_BYTES) if isinstance(self.value, str) else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedColumn:
    """A column whose arrays are padded; `zoo.orca.data.column` says what the fields are."""

    name: str
    pad: Pad
    length: int | None | tuple[int | None, ...] = None
    keep: str = "last"
    mask: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidInputError(
                f"column takes the name of a column; got {self.name!r}\n"
                "Write column('history', pad=0); a stack of columns cannot be padded"
            )
        if not isinstance(self.pad, Pad):
            raise self._wrong("pad", self.pad, "one value of the column's type", "pad=0")
        lengths = self.length if isinstance(self.length, tuple) else (self.length,)
        if not lengths or not all(map(_is_length, lengths)):
            known = "a whole number from 1 on, or a tuple with one for each level of nesting"
            raise self._wrong("length", self.length, known, "length=50, or leave it out")
        if self.keep not in KEEPS:
            raise self._wrong("keep", self.keep, "'first' or 'last'", "keep='last'")
        if self.mask is not None and (not isinstance(self.mask, str) or not self.mask):
            way = f"mask={self.name + '_mask'!r}"
            raise self._wrong("mask", self.mask, "the name of an input", way)

    def lengths(self, depth: int) -> tuple[int | None, ...]:
        """Return the length asked for at each level of arrays nested `depth` deep.

        Raises
        ------
        InvalidInputError
            If it has lengths for another depth.
        """
        if self.length is None:
            return (None,) * depth
        given = self.length if isinstance(self.length, tuple) else (self.length,)
        if len(given) != depth:
            wanted = given[0] if depth == 1 else (*given, *(None,) * depth)[:depth]
            raise InvalidInputError(
                f"column({self.name!r}): length={self.length} is for arrays nested {len(given)} "
                f"deep, and those of the column are nested {depth} deep\n"
                f"Write length={wanted}; None takes the longest of all rows"
            )
        return given

    def padding(self, dtype: str) -> Padding:
        """Return the padding of a column of that dtype.

        Raises
        ------
        InvalidInputError
            If a column of that dtype cannot hold the value.
        """
        value: Any = self.pad
        if dtype == "float32" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(value, str):
            value = value.encode()
        if not fits(value, dtype):
            raise InvalidInputError(
                f"column({self.name!r}): pad={self.pad!r} is not a value of {dtype}, as the column "
                f"holds\nWrite pad={USUAL[dtype]}, or another value of that type"
            )
        text = value.decode(_BYTES) if isinstance(value, bytes) else value
        return Padding(value=text, keep=self.keep)

    def _wrong(self, argument: str, value: object, takes: str, way: str) -> InvalidInputError:
        return InvalidInputError(
            f"column({self.name!r}): {argument} is {takes}; got {value!r}\nWrite {way}"
        )


def asked(
    name: str, padding: Padding, shape: Sequence[int | None], mask: str | None
) -> PaddedColumn:
    """Return what a user would write for a column that has this padding and this shape."""
    lengths = tuple(shape)
    return PaddedColumn(
        name=name,
        pad=padding.fill,
        length=lengths[0] if len(lengths) == 1 else lengths,
        keep=padding.keep,
        mask=mask,
    )


def fits(value: object, dtype: str) -> bool:
    """Whether a column of that dtype can hold a value."""
    if dtype == "bool":
        return isinstance(value, bool)
    if dtype == "string":
        return isinstance(value, bytes)
    if dtype == "float32":
        # A NaN would make every loss one.
        return isinstance(value, float) and math.isfinite(value) and abs(value) < 3.4e38
    most = _INTEGERS[dtype]
    return isinstance(value, int) and not isinstance(value, bool) and -most <= value < most


def _is_length(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)
