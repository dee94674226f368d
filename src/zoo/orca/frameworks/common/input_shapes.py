"""Whether a column fits an input of a Keras model, and the shape in which the model gets it.

A flat array becomes an input, row-major, if its length is the product of the input's shape. For
example, Spark has an image as 784 numbers and the model has it as (28, 28, 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from zoo.orca.errors import ModelError
from zoo.orca.wire.features import ColumnSpec, flattened, quoted

Shape = tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a functional model: its name, shape with the batch axis, and dtype."""

    name: str
    shape: Shape
    dtype: str


def check_input(column: ColumnSpec, expected: Input) -> None:
    """Refuse a column that the input cannot take.

    Raises
    ------
    ModelError
        The message names both shapes, or both dtypes.
    """
    if column.dtype == "string" and expected.dtype != "string":
        raise ModelError(
            column.refused(f"the model's input {expected.name!r} takes {expected.dtype}")
        )
    candidates: list[Shape] = [column.shape] if column.shape else [(), (1,)]
    row = expected.shape[1:]
    if not any(_fits(shape, row) for shape in candidates) and not _is_flat(column, row):
        shown = (None, *column.shape) if column.shape else (None, 1)
        flat = f", {_product(row)} numbers a row" if _is_matrix(row) else ""
        raise ModelError(
            f"column {column.name!r} gives batches of shape {shown}, and the model's input "
            f"{expected.name!r} takes {expected.shape}{flat}\n{_way_to(column, row)}"
        )
    if column.dtype != "string" and expected.dtype == "string":
        depth = len(column.shape)
        kind = "array<" * depth + "string" + ">" * depth
        cast = f"F.col({quoted(column.name)!r}).cast({kind!r})"
        raise ModelError(
            f"column {column.name!r} is of {column.dtype}, and the model's input "
            f"{expected.name!r} takes strings\n"
            f"Make them strings: df = df.withColumn({column.name!r}, {cast})"
        )


def row_shape(column: ColumnSpec, expected: Input) -> Shape:
    """Return the shape in which the model gets a row of a column."""
    row = expected.shape[1:]
    if not column.shape:
        return () if not row else (1,)
    return row if not _fits(column.shape, row) and _is_flat(column, row) else column.shape


def way_to_inputs(columns: Sequence[ColumnSpec], inputs: int, row: Shape | None = None) -> str:
    """Say how to pass the given number of columns to the given number of inputs or arguments.

    `row` is the shape of one input's rows, if the model declares it.
    """
    stackable = all(len(column.shape) < 2 and column.dtype != "string" for column in columns)
    lengths = [column.shape[0] if column.shape else 1 for column in columns]
    known = row is not None and None not in (*row, *lengths)
    fits = not known or sum(length or 0 for length in lengths) == _product(row or ())
    if inputs == 1 and len(columns) > 1 and stackable and fits:
        parts = [part for column in columns for part in column.sources]
        return f"Put them into one input by a list inside the list: feature_cols={[parts]}"
    return "Name one column for each input, in order, or map them by name: {'input': 'column'}"


def _is_matrix(row: Shape) -> bool:
    """Whether rows of an input have several axes of known lengths."""
    return len(row) > 1 and None not in row


def _product(row: Shape) -> int:
    return prod(length for length in row if length is not None)


def _is_flat(column: ColumnSpec, row: Shape) -> bool:
    """Whether a column has an input's rows as flat arrays; an unknown length may match."""
    return _is_matrix(row) and len(column.shape) == 1 and column.shape[0] in (None, _product(row))


def _way_to(column: ColumnSpec, row: Shape) -> str:
    """Say how a column can be an input with rows of such a shape."""
    if _is_matrix(row):
        return (
            f"Give it arrays of {_product(row)} numbers, which are reshaped, or arrays of arrays "
            f"of shape {row}"
        )
    if not column.shape and len(row) == 1:
        return (
            f"Put several columns into it by a list inside the list, feature_cols="
            f"[[{column.name!r}, ...]], or give the model an input of shape (1,)"
        )
    if len(column.shape) > 1 and len(row) == 1:
        return f"Flatten it: {flattened(column.name, len(column.shape))}"
    return f"Give it rows of shape {row}, or the model an input of shape {column.shape or (1,)}"


def _fits(shape: Shape, expected: Shape) -> bool:
    """Whether Keras takes rows of `shape`; Keras itself adds or drops a last axis of length 1."""
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    elif len(shape) == len(expected) - 1 and expected[-1] == 1:
        expected = expected[:-1]
    return len(shape) == len(expected) and all(
        have is None or want is None or have == want
        for have, want in zip(shape, expected, strict=True)
    )
