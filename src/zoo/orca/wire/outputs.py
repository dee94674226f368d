"""A model's outputs as driver and workers know them, and the one entry a row that each must have.

A prediction is a row of an output. Nothing but the model says which: an output of as many entries
as there were rows may still be about something else, such as a mean over the batch that happens to
be as long. So outputs are looked at for two different numbers of rows before they are believed, and
each output of each call is compared with the rows that went in.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError

Shape = tuple[int | None, ...]

#: Numbers of rows for which a model is called to see which axis counts them. Two are the fewest
#: that `squeeze` leaves alone.
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
        The shape of one row; None for a length that is not always the same.
    named : bool
        Whether the user chose the name.
    keyed : bool
        Whether the model returns a dict, whose order need not be the user's.
    problem : str
        Why its entries cannot be predictions of rows; empty if they can.
    """

    name: str
    dtype: str
    row_shape: Shape
    named: bool = False
    keyed: bool = False
    problem: str = ""

    @property
    def rank(self) -> int:
        """Number of axes, that of the rows included."""
        return len(self.row_shape) + 1

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "OutputSpec":
        """Return the output that `to_json` described."""
        return cls(**{**values, "row_shape": tuple(values["row_shape"])})


def output_spec(
    name: str,
    dtype: str,
    shapes: Mapping[int | None, Shape],
    *,
    named: bool = False,
    keyed: bool = False,
) -> OutputSpec:
    """Return what an output is, by the shapes that it had.

    Parameters
    ----------
    name : str
    dtype : str
        A dtype's name as numpy or a framework has it.
    shapes : dict of int or None to tuple
        Number of rows to the output's shape for so many; None where the model itself says that the
        number is open.
    named, keyed : bool
        As `OutputSpec` has them.
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
        name=name, dtype=kind, row_shape=row_shape, named=named, keyed=keyed, problem=problem
    )


def rows_of(output: NDArray[Any], rows: int, spec: OutputSpec) -> NDArray[Any]:
    """Return an output of one call, with an entry for each of the `rows` that went in.

    A model that squeezes its output also drops the axis of a single row; it gets that back.

    Raises
    ------
    ModelError
        If the output does not have one entry a row; names it, its shape and the rows.
    """
    if output.ndim == spec.rank and len(output) == rows:
        return output
    if rows == 1:
        known = _filled(spec.row_shape, output.shape)
        if known is not None and output.size == prod(known):
            return output.reshape(1, *known)
    raise ModelError(misaligned(spec.name, output.shape, rows))


def joined(pieces: list[NDArray[Any]], spec: OutputSpec) -> NDArray[Any]:
    """Return the outputs of several calls, one after another.

    Raises
    ------
    ModelError
        If the rows of one call have another shape than those of another.
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
        If that could change a value.
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
    """Whether a dtype holds what an output's does; of floats, as far as it is precise."""
    if output.dtype.name in _SHORT_FLOATS or np.can_cast(output.dtype, wanted, "safe"):
        return True
    if not np.can_cast(output.dtype, wanted, "same_kind"):
        return False
    # Whole numbers of more bits: ids must come out as they are, or not at all.
    return output.dtype.kind == "f" or np.array_equal(output.astype(wanted), output)


def misaligned(name: str, shape: Shape, rows: int | None) -> str:
    """Say that an output is not one entry a row."""
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
    """Return a row's shape; a length that is not always the same is None."""
    return tuple(
        lengths[0] if len(set(lengths)) == 1 else None for lengths in zip(*shapes, strict=True)
    )


def _filled(row_shape: Shape, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return a row's shape with the open lengths of an output that was squeezed; None: no such."""
    if None not in row_shape:
        return tuple(length for length in row_shape if length is not None)
    left = [length for length in shape if length != 1]
    if len(left) != sum(length != 1 for length in row_shape):
        return None
    lengths = iter(left)
    return tuple(1 if length == 1 else next(lengths) for length in row_shape)
