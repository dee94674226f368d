"""Labels that are numbers of classes: whether there is such a class.

What frameworks do with a class that does not exist differs by framework, backend and device: an
error about a tensor in a graph, a crash, or numbers that mean nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError

#: Values that a message shows.
_SHOWN = 3
#: Rows that are looked at together.
_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Wrong:
    """Labels of one worker, or of all, that are no numbers of classes.

    Parameters
    ----------
    kind : str
        "": none is wrong; "strings", "fractions", or "outside".
    rows, of : int
        The rows that have such a label, and all rows.
    examples : tuple
        Some of these labels.
    """

    kind: str
    rows: int
    of: int
    examples: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Wrong":
        """Return what `to_json` described."""
        return cls(**{**values, "examples": tuple(values["examples"])})


def check_class_labels(
    name: str, values: NDArray[Any], classes: int, *, ignored: int | None = None
) -> None:
    """Raise unless every label is the number of a class.

    Parameters
    ----------
    name : str
        The column's.
    values : array
        One label a row, or an array of them; strings are objects.
    classes : int
        How many there are, counted from 0.
    ignored : int or None
        A number that stands for no class, and that the loss leaves out.

    Raises
    ------
    DataError
        With the labels that are wrong, how many rows have them, and the way out.
    """
    found = wrong_labels(values, classes, ignored)
    if found.kind:
        raise DataError(message(name, found, classes, ignored))


def wrong_labels(values: NDArray[Any], classes: int, ignored: int | None = None) -> Wrong:
    """Return which labels are no numbers of classes; one pass over labels that all are."""
    rows = len(values)
    if not rows or not values.size or values.dtype == np.bool_:
        return Wrong("", 0, rows)
    if values.dtype == object:
        return Wrong("strings", rows, rows, tuple(map(_text, values.reshape(-1)[:_SHOWN])))
    # Piece by piece: the column may be a mapped file that is larger than memory.
    pieces = (values[start : start + _PIECE] for start in range(0, rows, _PIECE))
    return together([_wrong_numbers(piece, classes, ignored) for piece in pieces])


def _wrong_numbers(values: NDArray[Any], classes: int, ignored: int | None) -> Wrong:
    rows = len(values)
    if values.dtype.kind == "f":
        # A label that is not a number is not equal to itself, and so is not whole either.
        broken = values != np.rint(values)
        if broken.any():
            return _described("fractions", values, broken)
    if values.min() >= 0 and values.max() < classes:
        return Wrong("", 0, rows)
    outside = (values < 0) | (values >= classes)
    if ignored is not None:
        outside &= values != ignored
    return _described("outside", values, outside) if outside.any() else Wrong("", 0, rows)


def together(found: Iterable[Wrong]) -> Wrong:
    """Return what several workers have found as one finding, of the kind that comes first."""
    found = list(found)
    kinds = [one.kind for one in found if one.kind]
    if not kinds:
        return Wrong("", 0, sum(one.of for one in found))
    chosen = [one for one in found if one.kind == kinds[0]]
    examples = dict.fromkeys(example for one in chosen for example in one.examples)
    rows, of = sum(one.rows for one in chosen), sum(one.of for one in found)
    return Wrong(kinds[0], rows, of, tuple(examples)[:_SHOWN])


def message(
    name: str, found: Wrong, classes: int, ignored: int | None = None, where: str = ""
) -> str:
    """Say what is wrong with the labels of a column, and what mends it."""
    share = f"{found.rows:,} of {found.of:,} row{'s' if found.of != 1 else ''}"
    first, shown = found.examples[0], _listed(found.examples)
    there = f"column {name!r}{where}"
    if found.kind == "strings":
        return (
            f"label {first!r} is a string, in {there}, and the loss takes numbers of classes\n"
            f"number them: StringIndexer(inputCol={name!r}, outputCol={name + '_index'!r})"
            ".fit(df).transform(df), of pyspark.ml.feature"
        )
    if found.kind == "fractions":
        return (
            f"label {first} is not a whole number, in {there}: {share}, for example {shown}\n"
            f"the loss takes the numbers of classes, 0…{classes - 1}: round the labels, "
            f"df.withColumn({name!r}, F.round({name!r}).cast('int')), or take a loss for numbers"
        )
    kept = f" (and {ignored}, which is ignored)" if ignored is not None else ""
    return (
        f"label {first} is outside 0…{classes - 1}{kept}, in {there}: {share}, for example "
        f"{shown}\nthe model's output has {classes} classes, counted from 0: count labels from 0, "
        f"df.withColumn({name!r}, F.col({name!r}) - 1), or give the output more units"
    )


def _described(kind: str, values: NDArray[Any], wrong: NDArray[np.bool_]) -> Wrong:
    rows = int(wrong.reshape(len(values), -1).any(axis=1).sum())
    examples = dict.fromkeys(values[wrong][: 100 * _SHOWN].tolist())
    shown = tuple(_number(value) for value in examples)[:_SHOWN]
    return Wrong(kind, rows, len(values), shown)


def _number(value: float) -> Any:
    """Return a label as people write it: 6, not 6.0; JSON has no NaN."""
    if value != value:
        return "nan"
    return int(value) if abs(value) < 2**53 and value == int(value) else value


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _listed(examples: Sequence[Any]) -> str:
    return ", ".join(map(str, examples))
