"""The arguments `output_type`, `labels` and `threshold`: checked, and what they mean per output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zoo.orca.errors import InvalidInputError
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.predicting.column_forms import (
    ColumnForm,
    ColumnKind,
    Label,
    is_float,
    is_one,
    usual,
)

#: What `output_type` may be for one output.
OutputType = str | None
#: One for all outputs, one for each in their order, or by the outputs' names.
OutputTypes = OutputType | Sequence[OutputType] | Mapping[str, OutputType]
Labels = Sequence[Any] | Mapping[str, Sequence[Any]]
Threshold = float | Mapping[str, float]

_KINDS = {
    "array": ColumnKind.ARRAY,
    "vector": ColumnKind.VECTOR,
    "scalar": ColumnKind.SCALAR,
    "class": ColumnKind.CLASS,
}
_KNOWN = f"one of {', '.join(map(repr, _KINDS))} or None"
#: Whole numbers that a double does not hold all of.
_LONG = ("int64", "uint64")


class Asks(Protocol):
    """What decides which column each output becomes."""

    def forms(self, outputs: Sequence[OutputSpec], has_vectors: bool) -> tuple[ColumnForm, ...]:
        """Return what the column of each output holds, or raise `OrcaError`."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user wants of predictions.

    Parameters
    ----------
    output_type : str, sequence, dict or None
    labels : sequence, dict or None
    threshold : float, dict or None

    Raises
    ------
    InvalidInputError
        If a value cannot be used, whatever the model returns.
    """

    output_type: OutputTypes = None
    labels: Labels | None = None
    threshold: Threshold | None = None

    def __post_init__(self) -> None:
        types = _each(self.output_type)
        for one in types:
            if one is not None and (not isinstance(one, str) or one not in _KINDS):
                raise InvalidInputError(
                    f"output_type must be {_KNOWN}, got {one!r}\n"
                    "For several outputs pass a list in their order, or a dict by their names"
                )
        for argument in ("labels", "threshold"):
            if getattr(self, argument) is not None and "class" not in types:
                raise InvalidInputError(
                    f"{argument} belongs to output_type='class', and output_type is "
                    f"{self.output_type!r}\nPass output_type='class', or leave {argument} out"
                )
        labels = self.labels
        for given in labels.values() if isinstance(labels, Mapping) else [labels]:
            if given is not None:
                _labels(given)
        threshold = self.threshold
        for number in threshold.values() if isinstance(threshold, Mapping) else [threshold]:
            if number is not None and not _is_number(number):
                raise InvalidInputError(
                    f"threshold must be a number, got {number!r}\n"
                    "Pass 0.5 for a probability, 0.0 for a logit"
                )

    def refuse_for_creators(self) -> None:
        """Raise if anything but what is usual is wanted of the batches of a data creator."""
        if any(one is not None for one in _each(self.output_type)):
            raise InvalidInputError(
                f"output_type={self.output_type!r} is of columns, and the predictions of a data "
                "creator are numpy arrays, as the model returns them\n"
                "Leave it out; numpy.argmax(found, axis=-1) makes classes of them"
            )

    def forms(self, outputs: Sequence[OutputSpec], has_vectors: bool) -> tuple[ColumnForm, ...]:
        """Return what the column of each output holds.

        Parameters
        ----------
        outputs : sequence of OutputSpec
        has_vectors : bool
            Whether there are Vectors; else there are arrays in their place.

        Raises
        ------
        InvalidInputError
            If an output cannot be what is wanted; names it and its shape.
        """
        types = _by_output("output_type", self.output_type, outputs)
        are_classes = [kind == "class" for kind in types]
        labels = self._of_classes("labels", outputs, are_classes)
        thresholds = self._of_classes("threshold", outputs, are_classes)
        return tuple(
            _form(output, kind, has_vectors, names, threshold)
            for output, kind, names, threshold in zip(
                outputs, types, labels, thresholds, strict=True
            )
        )

    def _of_classes(
        self, argument: str, outputs: Sequence[OutputSpec], are_classes: Sequence[bool]
    ) -> list[Any]:
        """Return what an argument says of each output; it speaks of classes alone."""
        given = getattr(self, argument)
        if isinstance(given, Mapping):
            found = _by_output(argument, given, outputs)
        else:
            found = [given if one else None for one in are_classes]
            if given is not None and argument == "labels" and sum(are_classes) > 1:
                raise InvalidInputError(
                    f"labels={list(given)!r} does not say of which of {_names(outputs)} they are\n"
                    f"Pass a dict: labels={{{outputs[0].name!r}: [...]}}"
                )
        for output, one, is_class in zip(outputs, found, are_classes, strict=True):
            if one is not None and not is_class:
                raise InvalidInputError(
                    f"{argument} names the output {output.name!r}, whose output_type is not "
                    f"'class'\nPass output_type={{{output.name!r}: 'class'}}, or leave it out"
                )
        return found


def _each(given: OutputTypes) -> list[Any]:
    if isinstance(given, Mapping):
        return list(given.values())
    if given is None or isinstance(given, str) or not isinstance(given, Sequence):
        return [given]
    return list(given)


def _by_output(argument: str, given: Any, outputs: Sequence[OutputSpec]) -> list[Any]:
    """Return what is given for each output."""
    own = _names(outputs)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in own]
        if unknown:
            raise InvalidInputError(
                f"{argument} names the output {unknown[0]!r}, and the model's are {own}\n"
                f"Name some of these: {argument}={{{own[0]!r}: ...}}"
            )
        return [given.get(name) for name in own]
    if given is None or isinstance(given, str):
        return [given] * len(outputs)
    if len(given) != len(outputs):
        raise InvalidInputError(
            f"{argument} has {len(given)} values, and the model has {len(outputs)} "
            f"{'output' if len(outputs) == 1 else 'outputs'}\nGive one for each of {own}"
        )
    return list(given)


def _names(outputs: Sequence[OutputSpec]) -> list[str]:
    return [output.name for output in outputs]


def _form(
    output: OutputSpec, wanted: OutputType, has_vectors: bool, labels: Any, threshold: float | None
) -> ColumnForm:
    if wanted is None:
        return usual(has_vectors)
    kind = _KINDS[wanted]
    if kind is ColumnKind.CLASS:
        return _class_form(output, labels, threshold)
    if kind is ColumnKind.SCALAR and not is_one(output):
        raise _unfit(output, wanted, "a scalar is of one number a row", "'array', or leave it out")
    if kind is ColumnKind.VECTOR:
        if output.rank > 2:
            raise _unfit(output, wanted, "a Vector has one axis", "'array'")
        if output.dtype == "string" or output.dtype in _LONG:
            raise _unfit(output, wanted, "a Vector holds doubles", "'array', which keeps them all")
        kind = kind if has_vectors else ColumnKind.ARRAY
    return ColumnForm(kind=kind)


def _class_form(output: OutputSpec, labels: Any, threshold: float | None) -> ColumnForm:
    classes = output.row_shape[-1] if output.row_shape else 1
    if classes is None:
        raise _unfit(output, "class", "the number of classes is open", "'array'")
    alone = classes == 1
    if output.dtype == "string" and (not alone or labels is not None):
        raise _unfit(output, "class", "text is no number of a class", "'array', without labels")
    by_threshold = alone and is_float(output)
    if threshold is not None and not by_threshold:
        raise InvalidInputError(
            f"threshold decides about one float a row, and the model's output {output.name!r} has "
            f"{_shown(output)}\nLeave threshold out"
        )
    if by_threshold and threshold is None:
        threshold = output.threshold
        if threshold is None:
            raise InvalidInputError(
                f"output_type='class': the model's output {output.name!r} is one number a row, and "
                "nothing tells whether that is a probability or a logit\n"
                "Pass threshold=0.5 for a probability, threshold=0.0 for a logit"
            )
    names = () if labels is None else _labels(labels)
    known = 2 if by_threshold or output.dtype == "bool" else classes
    if names and (not alone or by_threshold or output.dtype == "bool") and len(names) != known:
        raise InvalidInputError(
            f"labels has {len(names)} names, and the model's output {output.name!r} has {known} "
            f"classes\nGive one for each class, in the order of their numbers"
        )
    return ColumnForm(kind=ColumnKind.CLASS, threshold=float(threshold or 0.0), labels=names)


def _unfit(output: OutputSpec, wanted: str, why: str, way: str) -> InvalidInputError:
    return InvalidInputError(
        f"output_type={wanted!r}: the model's output {output.name!r} has {_shown(output)}, and "
        f"{why}\nPass output_type={way}"
    )


def _shown(output: OutputSpec) -> str:
    lengths = ["rows", *("?" if n is None else str(n) for n in output.row_shape)]
    return f"the shape ({', '.join(lengths)}{',' * (len(lengths) == 1)}) of {output.dtype}"


def _labels(given: Any) -> tuple[Label, ...]:
    """Return labels of one type: text, booleans, whole numbers or floats."""
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise InvalidInputError(
            f"labels must be a list with a name for each class, got {given!r}\n"
            "Pass for example labels=['no', 'yes'], in the order of the classes' numbers"
        )
    names = [one.item() if hasattr(one, "item") else one for one in given]
    if names and all(type(one) in (int, float) for one in names):
        if float in map(type, names):
            return tuple(map(float, names))
        return tuple(names)
    if not names or len(set(map(type, names))) > 1 or type(names[0]) not in (str, bool):
        raise InvalidInputError(
            f"labels must be names of one type, got {names!r}\n"
            "Make them all text: [str(label) for label in labels]"
        )
    return tuple(names)


def _is_number(value: Any) -> bool:
    return (
        not isinstance(value, bool)
        and (isinstance(value, (int, float)) or hasattr(value, "__float__"))
        and math.isfinite(float(value))
    )


#: As without any of these arguments.
AS_USUAL = Wanted()
