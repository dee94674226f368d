"""Dicts of numpy arrays: ``{"x": …, "y": …}``, or columns by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from zoo.orca.driver.frame.source import ColumnNames
from zoo.orca.errors import ColumnError
from zoo.orca.learn.forms.form import Columns
from zoo.orca.learn.forms.tables import OwnTable, Ways, as_arrays, frame_of
from zoo.orca.wire.arrow_columns import from_numpy, to_numpy

_WAYS = {
    "nulls": "Leave these rows out of every array, or fill them",
    "fill": "",
    "empty": "",
    "moments": "Make the array one of numbers: array.astype('int64')",
    "days": "Make the array one of numbers: array.astype('datetime64[D]').astype('int64')",
    "parts": "Pass what is in it as arrays of their own",
    "others": "Pass numbers, text, or arrays of them, all of one type, or leave it out",
}


class ArraysForm(OwnTable):
    """Arrays whose first axis is the rows; predictions are a dict with more of them."""

    def __init__(self, data: Mapping[Any, Any], argument: str) -> None:
        super().__init__(data, argument)
        self._parts = parts_of(data)

    @property
    def rows(self) -> int:
        """How many rows there are: entries of each array."""
        return min(map(len, self._parts.values()), default=0)

    def own_columns(self) -> Columns:
        """Return what ``x`` and ``y`` stand for; nothing for columns by name."""
        if not _is_pair(self._data):
            return Columns()
        labels = _named("y", self._data["y"]) if "y" in self._data else ()
        return Columns(_named("x", self._data["x"]), labels or None)

    def frame(self, spark: SparkSession, columns: Columns) -> DataFrame:
        """Return the rows as a DataFrame of the session."""
        arrays = {name: _array(name, value, self._argument) for name, value in self._parts.items()}
        rows = {name: len(array) for name, array in arrays.items()}
        if len(set(rows.values())) > 1:
            told = ", ".join(f"{name!r} has {count:,}" for name, count in rows.items())
            raise ColumnError(
                f"{self._argument}: its arrays have different numbers of rows: {told}\n"
                "Each array must have one entry for each row, along its first axis"
            )
        ways = Ways(argument=self._argument, label=str, **_WAYS)
        readers = [(name, partial(from_numpy, array)) for name, array in arrays.items()]
        return frame_of(spark, readers, columns, ways)

    def answer(self, predicted: DataFrame, outputs: Sequence[str]) -> dict[Any, Any]:
        """Return the dict with an array for each output."""
        found = {name: to_numpy(column) for name, column in as_arrays(predicted).items()}
        return {**self._data, **found}


def parts_of(data: Mapping[Any, Any]) -> dict[str, Any]:
    """Return each array by the name of its column.

    The parts of ``x`` are ``x``, or ``x_0``, ``x_1``, … of a tuple, or ``x_user``, … of a dict.
    """
    if not _is_pair(data):
        return {str(name): value for name, value in data.items()}
    return {
        column: value
        for role, given in data.items()
        for column, value in zip(_columns(role, given), _values(given), strict=True)
    }


def places_of(data: Mapping[Any, Any]) -> dict[str, str]:
    """Return where each column's array is, as code behind the dict's name."""
    if not _is_pair(data):
        return {str(name): f"[{name!r}]" for name in data}
    found = {}
    for role, given in data.items():
        keys: list[Any] = list(given) if isinstance(given, Mapping) else []
        if _is_several(given):
            keys = list(range(len(given)))
        inner = [f"[{key!r}]" for key in keys] if keys else [""]
        for column, place in zip(_columns(role, given), inner, strict=True):
            found[column] = f"[{role!r}]{place}"
    return found


def _is_pair(data: Mapping[Any, Any]) -> bool:
    """Whether a dict is of inputs and labels, and not of columns by name."""
    return "x" in data and set(data) <= {"x", "y"}


def _is_several(value: Any) -> bool:
    """Whether inputs are several arrays; a list of numbers is one."""
    return isinstance(value, (tuple, list)) and any(hasattr(one, "shape") for one in value)


def _values(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if _is_several(value) else [value]


def _columns(role: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{role}_{name}" for name in value]
    return [f"{role}_{place}" for place in range(len(value))] if _is_several(value) else [role]


def _named(role: str, value: Any) -> ColumnNames:
    """Return the columns of ``x`` or ``y`` as `feature_cols` and `label_cols` name them."""
    columns = _columns(role, value)
    if isinstance(value, Mapping):
        return dict(zip(map(str, value), columns, strict=True))
    return columns


def _array(name: str, value: Any, argument: str) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise ColumnError(
            f"column {name!r} of {argument} is a masked array, whose mask no model input can take\n"
            f"Fill what is masked, with .filled(0), or leave these rows out"
        )
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        if not isinstance(value, (list, tuple)):  # a tensor that is not a plain one
            raise ColumnError(
                f"column {name!r} of {argument} is no array: {str(error).partition('. ')[0]}\n"
                "Make it one of numpy's, for example tensor.detach().cpu().numpy()"
            ) from error
        array = np.fromiter(value, object, len(value))  # rows of several lengths
    if not array.ndim:
        raise ColumnError(
            f"column {name!r} of {argument} is one value, {value!r}, and no array of rows\n"
            f"Repeat it for each row, for example numpy.full(rows, {value!r})"
        )
    return array
