"""Outputs as classes, and as numbers that Spark has types for; all rows at once."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.wire.outputs import Scale
from zoo.orca.wire.predicting.column_forms import ColumnForm
from zoo.orca.worker.rows.arrays import from_numbers

#: Whole numbers that Spark has no type for, and the next larger type that it has.
_WIDENED = {
    "uint8": pa.int16(),
    "uint16": pa.int32(),
    "uint32": pa.int64(),
    "uint64": pa.decimal128(20, 0),
}
_LABELS: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}


def number_array(values: NDArray[Any]) -> pa.Array:
    """Return flat numbers or booleans as an array of a type that Spark has."""
    if values.dtype == np.bool_:
        return from_numbers(values.view(np.uint8)).cast(pa.bool_())
    array = from_numbers(np.ascontiguousarray(values))
    wider = _WIDENED.get(values.dtype.name)
    return array if wider is None else array.cast(wider)


def class_array(
    values: NDArray[Any] | pa.Array, shape: tuple[int, ...], form: ColumnForm
) -> pa.Array:
    """Return the classes that the numbers along the last axis speak for, flat.

    That is the index of the largest, the first one of several. One float alone is compared with the
    threshold, and one whole number or text is the class itself. A NaN speaks for no class.

    Parameters
    ----------
    values : array
        All values, flat.
    shape : tuple of int
        (rows, ..., classes); of one axis alone, (rows,).
    form : ColumnForm

    Raises
    ------
    ModelError
        If a class has no label.
    """
    if not isinstance(values, np.ndarray):
        return values
    table = values.reshape(-1, shape[-1] if len(shape) > 1 else 1)
    missing = np.isnan(table).any(axis=1) if table.dtype.kind == "f" else None
    found = _decided(table, form.threshold)
    array = number_array(found)
    if missing is not None and missing.any():
        array = pa.array(found, mask=missing)
    return _labelled(array, found, form) if form.labels else array


def of_each_class(
    values: NDArray[Any], shape: tuple[int, ...], scale: Scale
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what Spark ML has of classes: raw predictions, probabilities, the likeliest class.

    One number a row is of class 1, and class 0 gets what it leaves.

    Parameters
    ----------
    values : array
        All values, flat.
    shape : tuple of int
        (rows, classes), (rows, 1) or (rows,).
    scale : Scale

    Returns
    -------
    array, array, array
        Of shapes (rows, classes), (rows, classes) and (rows,).
    """
    raw = values.astype(np.float64).reshape(-1, shape[1] if len(shape) > 1 else 1)
    # Powers too large for a double are infinite: their probabilities are 0.
    with np.errstate(over="ignore", invalid="ignore"):
        if raw.shape[1] != 1:
            chances = _chances(raw, scale)
        elif scale is Scale.LOGITS:
            raw = np.concatenate([-raw, raw], axis=1)
            # Not 1 - p, which has no digits left where p is almost 1.
            chances = 1 / (1 + np.exp(-raw))
        else:
            raw = chances = np.concatenate([1 - raw, raw], axis=1)
    return raw, chances, raw.argmax(axis=1).astype(np.float64)


def _chances(raw: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Return the probabilities of several classes."""
    if scale is Scale.PROBABILITIES:
        return raw
    if scale is Scale.LOGARITHMS:
        logs: NDArray[np.float64] = np.exp(raw)
        return logs
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def _decided(table: NDArray[Any], threshold: float) -> NDArray[Any]:
    if table.shape[1] != 1:
        largest: NDArray[Any] = table.argmax(axis=1).astype(np.int32)
        return largest
    one: NDArray[Any] = table[:, 0]
    if one.dtype.kind == "f":
        return (one > threshold).astype(np.int32)
    return one.astype(np.int32) if one.dtype == np.bool_ else one


def _labelled(classes: pa.Array, found: NDArray[Any], form: ColumnForm) -> pa.Array:
    """Return the labels of classes; `found` has the same numbers, and some for nulls."""
    known = len(form.labels)
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < known:
        wrong = found[(found < 0) | (found >= known)][0]
        raise ModelError(
            f"the model gives the class {wrong}, and labels names the classes 0 to {known - 1}\n"
            "Give labels= a name for each class, in the order of their numbers"
        )
    names = pa.array(form.labels, _LABELS[type(form.labels[0])])
    return names.take(classes.cast(pa.int64()))
