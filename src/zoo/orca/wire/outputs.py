"""A model's outputs as driver and workers know them; each must have one entry a row.

A prediction is a row of an output. An output with as many entries as rows may still mean something
else, such as a mean over the batch that happens to have this length. So outputs are checked with
two different numbers of rows before any is used, and each output of each call is compared with the
rows that went in.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum, auto
from math import log, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError

Shape = tuple[int | None, ...]

#: The model is called with these numbers of rows to see which axis counts them. `squeeze` would
#: drop an axis of one row.
PROBES = (2, 3)
#: The dtypes in which outputs travel. "string" is text.
DTYPES = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "string",
)
_SHORT_FLOATS = ("float16", "bfloat16", "half")


class Scale(StrEnum):
    """What the numbers of an output of classes are."""

    LOGITS = auto()
    PROBABILITIES = auto()
    LOGARITHMS = auto()


#: What one number a row must be above for a yes.
_THRESHOLDS = {Scale.LOGITS: 0.0, Scale.PROBABILITIES: 0.5, Scale.LOGARITHMS: log(0.5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """One output of a model.

    Parameters
    ----------
    name : str
        The model's name for it, or ``output_0``, ...
    dtype : str
        One of `DTYPES`.
    row_shape : tuple of int or None
        The shape of one row; None for a length that varies.
    named : bool
        Whether the user chose the name.
    keyed : bool
        Whether the model returns a dict, whose order may not be the user's.
    problem : str
        Why its entries cannot be predictions of rows; empty if they can.
    scale : Scale or None
        As the loss tells, because the model is trained so; else as the last layer does. None where
        nothing tells.
    """

    name: str
    dtype: str
    row_shape: Shape
    named: bool = False
    keyed: bool = False
    problem: str = ""
    scale: Scale | None = None

    @property
    def rank(self) -> int:
        """Number of axes, including that of the rows."""
        return len(self.row_shape) + 1

    @property
    def threshold(self) -> float | None:
        """For one float a row: a larger one means yes; None if nothing tells."""
        return None if self.scale is None else _THRESHOLDS[self.scale]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "OutputSpec":
        """Return the output that `to_json` described."""
        scale = values.get("scale")
        known = {"row_shape": tuple(values["row_shape"]), "scale": scale and Scale(scale)}
        return cls(**{**values, **known})


def output_spec(
    name: str,
    dtype: str,
    shapes: Mapping[int | None, Shape],
    *,
    named: bool = False,
    keyed: bool = False,
) -> OutputSpec:
    """Return the spec of an output from the shapes that it had.

    Parameters
    ----------
    name : str
    dtype : str
        The name of a dtype in numpy or a framework.
    shapes : dict of int or None to tuple
        Number of rows to the output's shape; None if the model itself says that the number is open.
    named, keyed : optional
        As in `OutputSpec`.
    """
    problem = ""
    rows, shape = next(iter(shapes.items()))
    for count, other in shapes.items():
        if other[:1] != (count,) and not problem:
            problem = misaligned(name, other, count)
    same_rank = all(len(other) == len(shape) for other in shapes.values())
    if not problem and not same_rank:
        problem = misaligned(name, shape, rows)
    kind = "float32" if dtype in _SHORT_FLOATS else dtype
    if not problem and kind not in DTYPES:
        problem = (
            f"the model's output {name!r} is of dtype {dtype}, which no column of Spark holds\n"
            "Return real numbers, booleans or strings, for example the real part of it"
        )
    row_shape = _common([other[1:] for other in shapes.values()]) if same_rank else shape[1:]
    return OutputSpec(
        name=name,
        dtype=kind,
        row_shape=row_shape,
        named=named,
        keyed=keyed,
        problem=problem,
    )


def rows_of(output: NDArray[Any], rows: int, spec: OutputSpec) -> NDArray[Any]:
    """Return an output of one call, with an entry for each of the `rows` that went in.

    A model that squeezes its output also drops the axis of a single row; this restores it.

    Raises
    ------
    ModelError
        If the output does not have one entry a row; names the output, its shape and the rows.
    """
    if output.ndim == spec.rank and len(output) == rows:
        return output
    if rows == 1:
        known = _filled(spec.row_shape, output.shape)
        if known is not None and output.size == prod(known):
            return output.reshape(1, *known)
    raise ModelError(misaligned(spec.name, output.shape, rows))


def joined(pieces: list[NDArray[Any]], spec: OutputSpec) -> NDArray[Any]:
    """Return the outputs of several calls as one.

    Raises
    ------
    ModelError
        If the rows of two calls have different shapes.
    """
    shapes = {piece.shape[1:] for piece in pieces}
    if len(shapes) > 1:
        first, second = sorted(shapes)[:2]
        raise ModelError(
            f"the model's output {spec.name!r} has rows of shape {first} in one call and {second} "
            "in another\nMake the shape of a row the same for all rows, for example by padding"
        )
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def as_dtype(output: NDArray[Any], spec: OutputSpec) -> NDArray[Any]:
    """Return an output in the dtype in which it travels; strings stay objects.

    Raises
    ------
    ModelError
        If the cast could change a value.
    """
    if spec.dtype == "string":
        return output
    wanted = np.dtype(spec.dtype)
    if not _fits(output, wanted):
        raise ModelError(
            f"the model's output {spec.name!r} is of dtype {output.dtype} now and was of "
            f"{spec.dtype} before\nReturn the same dtype in every call"
        )
    return np.ascontiguousarray(output, wanted)


def _fits(output: NDArray[Any], wanted: np.dtype[Any]) -> bool:
    """Whether a dtype can hold an output's values; floats may lose precision."""
    if output.dtype.name in _SHORT_FLOATS or np.can_cast(output.dtype, wanted, "safe"):
        return True
    if not np.can_cast(output.dtype, wanted, "same_kind"):
        return False
    # Whole numbers with more bits may be ids, which must come out exact or not at all.
    return output.dtype.kind == "f" or np.array_equal(output.astype(wanted), output)


def misaligned(name: str, shape: Shape, rows: int | None) -> str:
    """Say that an output does not have one entry a row."""
    count = "a batch of any number of rows" if rows is None else f"{rows} row{'s' * (rows != 1)}"
    shown = (
        f"({', '.join('rows' if n is None else str(n) for n in shape)}{',' * (len(shape) == 1)})"
    )
    return (
        f"the model's output {name!r} has shape {shown} for {count}, and a prediction is one entry "
        "a row\nReturn outputs whose first axis counts the rows; what is not about single rows "
        "(states of an LSTM, means over the batch) must not be returned"
    )


def _common(shapes: list[Shape]) -> Shape:
    """Return a row's shape; None for a length that varies."""
    return tuple(
        lengths[0] if len(set(lengths)) == 1 else None for lengths in zip(*shapes, strict=True)
    )


def _filled(row_shape: Shape, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Fill the open lengths of a row's shape from a squeezed output; None if it does not fit."""
    if None not in row_shape:
        return tuple(length for length in row_shape if length is not None)
    left = [length for length in shape if length != 1]
    if len(left) != sum(length != 1 for length in row_shape):
        return None
    lengths = iter(left)
    return tuple(1 if length == 1 else next(lengths) for length in row_shape)
