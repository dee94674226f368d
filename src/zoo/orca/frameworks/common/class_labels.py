"""Checks class labels before the first step, for every framework.

Frameworks treat a label that is not a class differently. Some raise an error of a hundred lines,
some fail only on the worker that has it, some train on. This module checks all labels of a worker.
All workers raise the same error, which counts the rows of all of them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import DataError
from zoo.orca.wire.features import quoted
from zoo.orca.worker.collective.protocol import Collective

#: Labels checked at once, which limits the memory of temporary arrays.
_AT_ONCE = 1 << 20
_EXAMPLES = 3
Labels = NDArray[Any]


class _Found(NamedTuple):
    """What one worker, or all together, found for one kind of fault."""

    rows: int
    examples: list[float]


def check_class_labels(
    name: str,
    values: Labels,
    classes: int | None,
    *,
    ignored: int | None = None,
    collective: Collective | None = None,
    data: str = "",
) -> None:
    """Refuse labels that are not class numbers; called on all ranks if there is a collective.

    Parameters
    ----------
    name : str
        The column's name.
    values : array of shape (rows, ...)
        All labels of this worker; may be empty.
    classes : int or None
        The number of classes; None: any number.
    ignored : int, optional
        A label that the loss ignores.
    collective : Collective, optional
        The other workers.
    data : str
        The text after the column's name in the error, such as " of validation_data".

    Raises
    ------
    DataError
        The error is the same on every rank.
    """

    def outside(labels: Labels) -> Any:
        if classes is None:
            return np.zeros(labels.shape, bool)
        return (labels < 0) | (labels >= classes)

    shown = f"column {name!r}{data}: label"
    kinds: list[_Kind] = [
        (
            lambda labels: ~np.isfinite(labels),
            shown + " {} is no number",
            "Drop these rows, or give them a class",
        ),
        (
            lambda labels: labels != np.rint(labels),
            shown + " {} is no class, which is a whole number",
            "For numbers that are measured use a loss such as the mean squared error; make classes "
            f"of them with F.round({quoted(name)!r}).cast('int') or Bucketizer",
        ),
        (
            outside,
            shown + f" {{}} is outside 0…{(classes or 0) - 1}",
            "Count classes from 0, as StringIndexer does, or give the model's last layer an output "
            "for each class",
        ),
    ]
    if values.dtype.kind not in "fc":
        kinds = kinds[2:]
    _check(values, kinds, ignored, collective)


def check_chances(
    name: str, values: Labels, *, collective: Collective | None = None, data: str = ""
) -> None:
    """Refuse labels that are not probabilities, from 0 to 1, of one of two classes.

    Raises
    ------
    DataError
        The error is the same on every rank.
    """
    kind: _Kind = (
        lambda labels: ~((labels >= 0) & (labels <= 1)),
        f"column {name!r}{data}: label {{}} is outside 0…1",
        "This loss is of two classes, 0 and 1: use one of several classes, or make the labels two",
    )
    _check(values, [kind], None, collective)


#: Which labels are wrong; the error's first line, with a place for one of them; its second line.
_Kind = tuple[Callable[[Labels], Any], str, str]


def _check(
    values: Labels, kinds: Sequence[_Kind], ignored: int | None, collective: Collective | None
) -> None:
    own = [_find(values, wrong, ignored) for wrong, _, _ in kinds]
    rows, found = len(values), own
    if collective is not None and collective.size > 1:
        told = [
            json.loads(bytes(message))
            for message in collective.all_gather(json.dumps([len(values), own]).encode())
        ]
        rows = sum(count for count, _ in told)
        found = [_together([_Found(*theirs[k]) for _, theirs in told]) for k in range(len(kinds))]
    for (_, cause, way), one in zip(kinds, found, strict=True):
        if one.rows:
            shown = [f"{label:.6g}" for label in one.examples]
            more = f", for example {', '.join(shown)}" if len(shown) > 1 else ""
            share = f"{one.rows:,} of {rows:,} row{'s' if rows > 1 else ''}"
            raise DataError(f"{cause.format(shown[0])}: {share}{more}\n{way}")


def _find(values: Labels, wrong: Callable[[Labels], Any], ignored: int | None) -> _Found:
    rows, examples = 0, list[float]()
    for labels in _pieces(values):
        bad = wrong(labels)
        if ignored is not None:
            bad = bad & (labels != ignored)
        if not bad.any():
            continue
        rows += int(bad.reshape(len(labels), -1).any(axis=1).sum())
        if len(examples) < _EXAMPLES:
            examples += [float(one) for one in np.unique(labels[bad])[:_EXAMPLES]]
    return _Found(rows, _first(examples))


def _pieces(values: Labels) -> Iterator[Labels]:
    size = max(_AT_ONCE // max(int(np.prod(values.shape[1:])), 1), 1)
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _together(found: Sequence[_Found]) -> _Found:
    return _Found(
        sum(one.rows for one in found), _first([each for one in found for each in one.examples])
    )


def _first(examples: list[float]) -> list[float]:
    """Return the first different values; NaN equals itself here."""
    return list({repr(one): one for one in examples}.values())[:_EXAMPLES]
