"""What a user says of one column beyond its name."""

from typing import Any, Literal

from zoo.orca.wire.padding import PaddedColumn


def column(
    name: str,
    *,
    pad: bool | int | float | str | bytes = 0,
    length: int | tuple[int | None, ...] | None = None,
    keep: Literal["first", "last"] = "last",
    mask: str | None = None,
) -> PaddedColumn:
    """Name a column whose arrays have unequal lengths, in place of its name alone.

    Parameters
    ----------
    name : str
        The column's name in the DataFrame.
    pad : bool, int, float, str or bytes
        A value of the column's type. It fills up the end of every array that is too short.
    length : int or tuple, optional
        The length that all arrays get. By default it is that of the longest array of all rows, the
        validation rows included, as the first `fit` found it. Arrays of arrays take a tuple, with a
        length or None for each level.
    keep : "first" or "last"
        Which elements stay of an array that is too long.
    mask : str, optional
        Give the model one more input of this name: true where a value is the array's own, false
        where it is `pad`. In a list it comes right after the column.

    Returns
    -------
    PaddedColumn
        For `feature_cols` and, without a mask, for `label_cols`.

    Raises
    ------
    InvalidInputError
        If an argument cannot be used.
    """
    lengths = tuple(map(_number, length)) if isinstance(length, tuple) else _number(length)
    return PaddedColumn(name=name, pad=_number(pad), length=lengths, keep=keep, mask=mask)


def _number(value: Any) -> Any:
    """Return a number of numpy's, as `df.history.str.len().max()` is one, as Python's own."""
    # Known by what it has: to import numpy takes time that a program may not need.
    return value.item() if getattr(value, "shape", None) == () else value
