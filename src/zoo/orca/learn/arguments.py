"""The arguments that every framework's estimator has, checked before anything runs."""

from collections.abc import Mapping, Sequence
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


def check_engine(backend: str, names: Sequence[str]) -> None:
    """Raise `InvalidInputError` unless `backend` is a name that the original had for an engine.

    One engine does the work of all of them here.
    """
    if backend not in names:
        raise InvalidInputError(f"backend must be one of {names}, got {backend!r}")


def packed_callbacks(callbacks: Sequence[Any] | None) -> bytes | None:
    """Return the callbacks as they travel to the workers."""
    return pack(list(callbacks), "callbacks") if callbacks else None
