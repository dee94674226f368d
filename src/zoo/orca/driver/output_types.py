"""The types of Spark that predictions have."""

from pyspark.sql import types as T

from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.predicting.column_forms import (
    CLASS_FIELDS,
    ColumnForm,
    ColumnKind,
    column_depth,
    is_float,
    is_vector,
)

#: Spark has no unsigned numbers, so each becomes the next larger type.
_TYPES: dict[str, T.DataType] = {
    "bool": T.BooleanType(),
    "int8": T.ByteType(),
    "int16": T.ShortType(),
    "int32": T.IntegerType(),
    "int64": T.LongType(),
    "uint8": T.ShortType(),
    "uint16": T.IntegerType(),
    "uint32": T.LongType(),
    "uint64": T.DecimalType(20, 0),
    "float32": T.FloatType(),
    "float64": T.DoubleType(),
    "string": T.StringType(),
}
#: What labels are, by the Python type of all of them.
_LABELS: dict[type, T.DataType] = {
    str: T.StringType(),
    bool: T.BooleanType(),
    int: T.LongType(),
    float: T.DoubleType(),
}


def column_type(output: OutputSpec, form: ColumnForm) -> T.DataType:
    """Return the type of an output's column."""
    if form.kind is ColumnKind.CLASSES:
        from pyspark.ml.linalg import VectorUDT

        types = (VectorUDT(), VectorUDT(), T.DoubleType())
        return T.StructType(list(map(T.StructField, CLASS_FIELDS, types)))
    if is_vector(output, form):
        from pyspark.ml.linalg import VectorUDT  # not above: SciPy comes with it

        return VectorUDT()
    found = _class_type(output, form) if form.kind is ColumnKind.CLASS else _TYPES[output.dtype]
    for _ in range(column_depth(output, form)):
        found = T.ArrayType(found)
    return found


def _class_type(output: OutputSpec, form: ColumnForm) -> T.DataType:
    if form.labels:
        return _LABELS[type(form.labels[0])]
    several = output.row_shape[-1:] not in ((), (1,))
    if several or is_float(output) or output.dtype == "bool":
        return T.IntegerType()
    return _TYPES[output.dtype]  # the model itself says which class
