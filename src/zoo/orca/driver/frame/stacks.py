"""Columns concatenated into one input: a table's numbers as the one matrix that a model takes.

The JVM stacks them, so the rest of the code sees one array column.
"""

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructField

from zoo.orca.driver.frame.columns import check_castable, column_spec, converted
from zoo.orca.errors import ColumnError
from zoo.orca.wire.features import ColumnSpec, flattened

#: A stack gets the first of these dtypes that one of its columns has.
_WIDEST = ("string", "float32", "int64", "int32", "bool")


def stack_spec(fields: Sequence[StructField], where: str) -> ColumnSpec:
    """Return the spec of columns that reach a model as one input.

    Parameters
    ----------
    fields : sequence of StructField
        Numbers, booleans, Vectors or arrays of these; or strings alone. The stack gets their
        widest dtype.
    where : str
        What the columns are for, for the error.

    Raises
    ------
    ColumnError
        If no model input can take one of the columns, or they cannot be stacked.
    """
    specs = [column_spec(field, where) for field in fields]
    for spec in specs:
        if len(spec.shape) > 1:
            raise ColumnError(
                f"{where}: column {spec.name!r} holds arrays of arrays, which cannot be stacked "
                "with other columns\nPass it as an input of its own, or flatten it: "
                f"{flattened(spec.name, len(spec.shape))}"
            )
    dtypes = {spec.dtype for spec in specs}
    dtype = next(kind for kind in _WIDEST if kind in dtypes)
    if dtype == "string" and len(dtypes) > 1:
        text, number = (
            next(spec.name for spec in specs if (spec.dtype == "string") is wanted)
            for wanted in (True, False)
        )
        raise ColumnError(
            f"{where}: column {text!r} holds strings and {number!r} numbers, which cannot be "
            "stacked into one input\nPass them as inputs of their own, or turn the strings into "
            f"numbers with pyspark.ml.feature.StringIndexer(inputCol={text!r}, "
            f"outputCol={text + '_index'!r})"
        )
    length = None if any(spec.shape for spec in specs) else len(specs)
    names = tuple(field.name for field in fields)
    return ColumnSpec(
        name=f"[{', '.join(names)}]",
        dtype=dtype,
        shape=(length,),
        parts=names,
        binary=all(spec.binary for spec in specs),
        arrays=tuple(
            field.name for field in fields if isinstance(field.dataType, ArrayType)
        ),  # a Vector has no nulls inside
    )


def check_stackable(fields: Sequence[StructField], spec: ColumnSpec, where: str) -> None:
    """Raise `ColumnError` unless columns of another frame fit a stack without a narrowing cast."""
    for field in fields:
        stack_spec([field], where)  # refuses arrays of arrays
        own = column_spec(field, where)
        part = ColumnSpec(name=field.name, dtype=spec.dtype, shape=own.shape)
        check_castable(field, part, where, in_stack=True)


def stacked(fields: Sequence[StructField], spec: ColumnSpec) -> Column:
    """Return the expression that concatenates columns, in the Arrow type of their stack."""
    pieces: list[Column] = []
    scalars: list[Column] = []
    for field in fields:
        own = column_spec(field, "the stack")
        column = converted(field, ColumnSpec(name=field.name, dtype=spec.dtype, shape=own.shape))
        if not own.shape:
            scalars.append(column)
            continue
        if scalars:
            pieces.append(F.array(*scalars))
            scalars = []
        pieces.append(column)
    if scalars:
        pieces.append(F.array(*scalars))
    return pieces[0] if len(pieces) == 1 else F.concat(*pieces)
