"""What a row of a model's output becomes in its column: as it is, a Vector, a number, a class."""

from dataclasses import dataclass
from enum import Enum
from math import prod

from zoo.orca.wire.outputs import OutputSpec, Scale

#: Vectors of what the model gives and of probabilities, and the class as a double.
CLASS_FIELDS = ("rawPrediction", "probability", "prediction")
#: What a class may be called.
Label = str | int | float | bool


class ColumnKind(Enum):
    """How a row of an output becomes a value of a column.

    Attributes
    ----------
    USUAL
        A Vector for floats in one axis, else as NESTED.
    NESTED
        A value for a row without axes, else nested arrays.
    ARRAY
        Nested arrays; an array of one for a row without axes.
    VECTOR
        A Vector, of numbers in one axis or none.
    SCALAR
        The one value of a row, whatever its axes.
    CLASS
        The class that the numbers along the last axis speak for.
    CLASSES
        What Spark ML has of classes: a struct of `CLASS_FIELDS`.
    """

    USUAL = 1
    NESTED = 2
    ARRAY = 3
    VECTOR = 4
    SCALAR = 5
    CLASS = 6
    CLASSES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnForm:
    """What the column of one output holds.

    Parameters
    ----------
    kind : ColumnKind
    threshold : float
        For a class by one float: a larger one is class 1, any other class 0.
    labels : tuple
        What classes are called, by their indices, all of one type; empty: by the index itself.
    scale : Scale
        For all that Spark ML has of classes: what the model's numbers are.
    """

    kind: ColumnKind
    threshold: float = 0.0
    labels: tuple[Label, ...] = ()
    scale: Scale = Scale.LOGITS


USUAL = ColumnForm(kind=ColumnKind.USUAL)
NESTED = ColumnForm(kind=ColumnKind.NESTED)


def usual(has_vectors: bool) -> ColumnForm:
    """Return the form of an output of which nobody has said anything."""
    return USUAL if has_vectors else NESTED


def is_float(output: OutputSpec) -> bool:
    """Whether an output holds floats."""
    return output.dtype.startswith("float")


def is_one(output: OutputSpec) -> bool:
    """Whether a row of an output is certainly one value, in however many axes."""
    return None not in output.row_shape and prod(n or 0 for n in output.row_shape) == 1


def is_vector(output: OutputSpec, form: ColumnForm) -> bool:
    """Whether an output's column holds Vectors."""
    usually = form.kind is ColumnKind.USUAL and output.rank == 2 and is_float(output)
    return usually or form.kind is ColumnKind.VECTOR


def column_depth(output: OutputSpec, form: ColumnForm) -> int:
    """Return how deep the arrays of an output's column are nested, if it holds no Vectors."""
    axes = len(output.row_shape)
    if form.kind is ColumnKind.SCALAR:
        return 0
    if form.kind is ColumnKind.CLASS:
        return max(axes - 1, 0)
    return max(axes, 1) if form.kind is ColumnKind.ARRAY else axes
