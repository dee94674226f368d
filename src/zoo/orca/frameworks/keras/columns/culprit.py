"""Finds the row that a model could not read: text and images reach it unchecked.

TensorFlow's own error has a hundred lines, and none of them names a row. So the rows are tried
again in smaller and smaller groups, until one row is left.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.worker.plain_words import plain

#: Rows that are tried at once, and the seconds after which the search stops.
_ROWS = 256
_SECONDS = 20.0
_SHOWN_CHARACTERS = 40

Columns = Mapping[str, NDArray[Any]]


def broken_row(
    error: BaseException, made: KerasModel, layout: InputLayout, spec: FeatureSpec, columns: Columns
) -> DataError | None:
    """Describe an error that one of the rows caused; None if no such row is found.

    Parameters
    ----------
    error : Exception
        What the framework raised.
    made : KerasModel
    layout : InputLayout
    spec : FeatureSpec
    columns : dict of str to array
        The rows to search.
    """
    names = [column.name for column in spec.features if column.dtype == "string"]
    if not names or not isinstance(error, made.backend.ROW_ERRORS):
        return None

    # Compiled, because an eager call of TensorFlow logs a lot about what it broke off.
    predict = made.backend.predict(made, layout, fixed=layout.placeholder() is not None)

    def tried(some: Columns) -> Exception | None:
        try:
            predict(layout.feature_arrays(some))
        except made.backend.ROW_ERRORS as caught:
            return caught
        return None

    found = _first_failing(tried, columns)
    if found is None:
        return None
    row, cause, rows = found
    shown = ", ".join(f"{name!r}: {_show(columns[name][row])}" for name in names)
    which = f"column {names[0]!r}" if len(names) == 1 else f"one of the columns {names}"
    said, _ = plain("", str(getattr(cause, "message", cause)).strip(), lambda path: False)
    reason = said.removeprefix(": ").partition("\n")[0].rstrip(". ")
    return DataError(
        f"the model cannot read {which}: {reason}, for example in the row {{{shown}}}, the first "
        f"such of {rows:,}\nMend or drop rows like it, or let the model take them"
    )


def _first_failing(
    tried: Callable[[Columns], Exception | None], columns: Columns
) -> tuple[int, Exception, int] | None:
    """Return the first row that fails by itself, its error, and the number of such rows."""
    rows = len(next(iter(columns.values())))
    deadline = time.monotonic() + _SECONDS
    for start in range(0, rows, _ROWS):
        if time.monotonic() > deadline:
            return None
        low, high = start, min(start + _ROWS, rows)
        if tried(_cut(columns, low, high)) is None:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if tried(_cut(columns, low, middle)) is None:
                low = middle
            else:
                high = middle
        cause = tried(_cut(columns, low, high))
        return None if cause is None else (low, cause, rows)
    return None


def _cut(columns: Columns, start: int, stop: int) -> dict[str, NDArray[Any]]:
    return {name: values[start:stop] for name, values in columns.items()}


def _show(value: object) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return repr(value[:_SHOWN_CHARACTERS])
    cut = str(value)
    return repr(cut[:_SHOWN_CHARACTERS] + "..." if len(cut) > _SHOWN_CHARACTERS else cut)
