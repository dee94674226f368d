"""One Arrow column taken apart: its innermost values, its lists' lengths, its nulls.

A good column costs a few calls for each batch. Only a faulty column is read row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.wire.features import ColumnSpec
from zoo.orca.worker.rows.arrays import booleans, numbers

_SHOWN_ELEMENTS = 5
_SHOWN_CHARACTERS = 40
_SHOWN_COLUMNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A column of one batch.

    Parameters
    ----------
    values : pa.Array
        The innermost values of all rows. Null lists have none.
    lengths : tuple of array
        For each nesting level, the lengths of all non-null lists.
    has_nulls : bool
        Whether anything is null, at any level.
    """

    values: pa.Array
    lengths: tuple[NDArray[Any], ...]
    has_nulls: bool

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The one shape of all rows, with None for a missing list; None if shapes differ."""
        shape: list[int | None] = []
        for lengths in self.lengths:
            first = int(lengths[0]) if len(lengths) else None
            if first is not None and not (lengths == first).all():
                return None
            shape.append(first)
        return tuple(shape)


def take_apart(array: pa.Array, depth: int) -> Parts:
    """Return the parts of a column whose rows are lists nested `depth` deep."""
    has_nulls = array.null_count > 0
    lengths = []
    for _ in range(depth):
        if array.null_count:
            array = array.drop_null()
        lengths.append(numbers(array.value_lengths()))
        array = array.flatten()
        has_nulls = has_nulls or array.null_count > 0
    return Parts(values=array, lengths=tuple(lengths), has_nulls=has_nulls)


def to_numpy(values: pa.Array, dtype: str) -> NDArray[Any]:
    """Return innermost values without nulls as a flat array; strings as objects of bytes."""
    if dtype == "string":
        return values.cast(pa.large_binary()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
    return booleans(values) if dtype == "bool" else numbers(values)


def null_rows(array: pa.Array, depth: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the null rows, and the other rows that have a null inside."""
    found = [rows[booleans(level.is_null())] for level, rows in _levels(array, depth)]
    outer = found[0]
    return outer, np.unique(np.concatenate(found[1:])) if depth else found[0][:0]


def rows_by_length(array: pa.Array, depth: int, level: int) -> dict[int, tuple[int, int]]:
    """For each list length at a nesting level, return the number of rows and the first one."""
    lists, rows = list(_levels(array, depth))[level]
    rows, lengths = rows[booleans(lists.is_valid())], numbers(lists.drop_null().value_lengths())
    # A row counts once for a length, however many of its lists have it.
    pairs = np.unique(np.stack([lengths, rows]), axis=1)
    found, first, counts = np.unique(pairs[0], return_index=True, return_counts=True)
    return {
        int(length): (int(count), int(pairs[1][start]))
        for length, count, start in zip(found, counts, first, strict=True)
    }


def show_row(columns: list[pa.Array], specs: tuple[ColumnSpec, ...], row: int, first: int) -> str:
    """Return one row as a short text: column `first`, then some of the others."""
    order = [first, *(index for index in range(len(specs)) if index != first)]
    shown = [_show_column(columns[i][row], specs[i]) for i in order[:_SHOWN_COLUMNS]]
    more = ", ..." if len(order) > _SHOWN_COLUMNS else ""
    return "{" + ", ".join(shown) + more + "}"


def _show_column(value: pa.Scalar, spec: ColumnSpec) -> str:
    """Show a column's value with its name; for a stack show its columns, null ones first."""
    if not spec.parts or not value.is_valid or len(value.values) != len(spec.parts):
        return f"{spec.name!r}: {_show(value)}"
    pairs = zip(spec.parts, value.values, strict=True)
    ordered = sorted(pairs, key=lambda pair: pair[1].is_valid)
    return ", ".join(f"{name!r}: {_show(one)}" for name, one in ordered[:_SHOWN_ELEMENTS])


def _levels(array: pa.Array, depth: int) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
    """Yield the array of each nesting level, outermost first, with the row of each element."""
    rows = np.arange(len(array), dtype=np.int64)
    for _ in range(depth):
        yield array, rows
        rows, array = rows[booleans(array.is_valid())], array.drop_null()
        rows, array = np.repeat(rows, numbers(array.value_lengths())), array.flatten()
    yield array, rows


def _show(value: pa.Scalar) -> str:
    if not value.is_valid:
        return "None"
    if isinstance(value, (pa.ListScalar, pa.LargeListScalar)):
        shown = [_show(element) for element in value.values[:_SHOWN_ELEMENTS]]
        return "[" + ", ".join(shown) + (", ..." if len(value.values) > len(shown) else "") + "]"
    python = value.as_py()
    if isinstance(python, bytes):
        python = python[: 4 * _SHOWN_CHARACTERS].decode(errors="replace")
    if isinstance(python, str):
        cut = len(python) > _SHOWN_CHARACTERS
        return repr(python[:_SHOWN_CHARACTERS] + "..." if cut else python)
    # A float32 has few digits; a Python float would show all those of its binary value.
    return str(np.float32(python)) if pa.types.is_float32(value.type) else repr(python)
