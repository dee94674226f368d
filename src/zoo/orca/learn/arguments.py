"""The arguments that every framework's estimator has, checked before anything runs."""

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from pyspark.sql import DataFrame

from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.packing import pack


def checked_frame(data: Any, argument: str) -> DataFrame:
    """Return `data` if it is a Spark DataFrame, classic or Connect.

    Raises
    ------
    InvalidInputError
        With the way to make one.
    """
    if isinstance(data, DataFrame):
        return data
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    way = "pass a Spark DataFrame"
    if kind.startswith("pandas."):
        way = "make it a Spark DataFrame with spark.createDataFrame(...)"
    elif callable(data):
        way = "data creators are not supported: pass a Spark DataFrame"
    raise InvalidInputError(f"{argument} is a {kind}: {way}")


def positive(name: str, value: Any, optional: bool = False) -> None:
    """Raise `InvalidInputError` unless `value` is a whole number from 1 (or None, if optional)."""
    if optional and value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInputError(f"{name} must be a whole number from 1, got {value!r}")


def checked_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what creators are called with; refuse what belongs elsewhere."""
    settings = dict(config or {})
    if "batch_size" in settings:
        raise InvalidInputError("batch_size belongs to fit(batch_size=...), not to config")
    return settings


def class_weights(given: Mapping[Any, float] | None) -> dict[int, float] | None:
    """Return the weights of classes by the classes' numbers, however those are written.

    JSON has strings for keys, pandas and numpy have numbers of their own.

    Raises
    ------
    InvalidInputError
        If a key is no number of a class, or a weight no number.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            f"class_weight is a {type(given).__qualname__}, and not a dict of classes to weights\n"
            "Write class_weight={0: 1.0, 1: 5.0}"
        )
    found: dict[int, float] = {}
    for key, weight in given.items():
        number = _class_number(key)
        if number is None or number < 0 or number in found:
            why = "is there twice" if number in found else "is no class"
            raise InvalidInputError(
                f"class_weight: the key {key!r} {why}: classes are the whole numbers from 0\n"
                "Write the labels' own numbers, for example class_weight={0: 1.0, 1: 5.0}"
            )
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise InvalidInputError(
                f"class_weight: the weight of class {number} is {weight!r}, and not a number\n"
                f"Write a number, for example class_weight={ {number: 1.0} }"
            )
        found[number] = float(weight)
    return found or None


def _class_number(key: Any) -> int | None:
    """Return the whole number that a key means, or None."""
    if isinstance(key, str):
        return int(key) if re.fullmatch(r"\s*[+-]?\d+\s*", key, re.ASCII) else None
    if not isinstance(key, Real) or not math.isfinite(key):
        return None
    whole = int(float(key))
    return whole if whole == key else None


def check_engine(backend: str, names: Sequence[str]) -> None:
    """Raise `InvalidInputError` unless `backend` is a name that the original had for an engine.

    One engine does the work of all of them here.
    """
    if backend not in names:
        raise InvalidInputError(f"backend must be one of {names}, got {backend!r}")


def packed_callbacks(callbacks: Sequence[Any] | None) -> bytes | None:
    """Return the callbacks as they travel to the workers."""
    return pack(list(callbacks), "callbacks") if callbacks else None
