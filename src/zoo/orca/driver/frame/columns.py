"""Which types a model input can take, how the JVM converts each, and what mends the rest.

==========================================  =========  ==========================
Spark                                       dtype      shape of a row
==========================================  =========  ==========================
Boolean                                     bool       ()
Byte, Short, Integer                        int32      ()
Long                                        int64      ()
Float, Double, Decimal                      float32    ()
String, Char, Varchar, Binary               string     ()
Array of one of the above, nested too       its own    (k,), (k, l), ...
VectorUDT, dense or sparse                  float32    (k,)
==========================================  =========  ==========================
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.errors import ColumnError
from zoo.orca.wire.features import ColumnSpec, backticked, quoted

#: Spark's number for the type of sparse Vectors.
SPARSE = 0

# Strings travel as bytes, so that text and binary columns are one Arrow type on the workers.
_SQL = {
    "bool": "boolean",
    "int32": "int",
    "int64": "bigint",
    "float32": "float",
    "string": "binary",
}
_DTYPES: dict[type[T.DataType], str] = {
    T.BooleanType: "bool",
    T.ByteType: "int32",
    T.ShortType: "int32",
    T.IntegerType: "int32",
    T.LongType: "int64",
    T.FloatType: "float32",
    T.DoubleType: "float32",
    T.DecimalType: "float32",
    T.StringType: "string",
    T.CharType: "string",
    T.VarcharType: "string",
    T.BinaryType: "string",
}

#: Pairs of dtypes: the first becomes the second without loss of more than a float's precision.
_NUMBERS_WIDEN = {("int32", "int64"), ("int32", "float32"), ("int64", "float32")}
_BOOLEANS_WIDEN = {("bool", "int32"), ("bool", "int64"), ("bool", "float32")}

# What mends a column of a type that no model input takes. {name!r} is the column's name; {ref!r} is
# the name quoted for an expression. Found by type name: some are newer than Spark 4.0.
_MENDING = {
    "TimestampType": "df = df.withColumn({name!r}, F.unix_timestamp({ref!r}))",
    "TimestampNTZType": "df = df.withColumn({name!r}, F.unix_timestamp({ref!r}))",
    "DateType": "df = df.withColumn({name!r}, F.unix_date({ref!r}))",
    "TimeType": "df = df.withColumn({name!r}, F.hour({ref!r}) * 60 + F.minute({ref!r}))",
    "MapType": "df = df.withColumn({name!r}, F.col({ref!r})[{key}])",
    "VariantType": "df = df.withColumn({name!r}, F.variant_get({ref!r}, '$', 'float'))",
    "NullType": "df = df.withColumn({name!r}, F.lit(0.0))",
    "DayTimeIntervalType": (
        "df = df.withColumn({name!r}, "
        "F.unix_seconds(F.timestamp_seconds(F.lit(0)) + F.col({ref!r})))"
    ),
    "YearMonthIntervalType": (
        "df = df.withColumn({name!r}, F.months_between(F.lit('2000-01-01').cast('date') + "
        "F.col({ref!r}), F.lit('2000-01-01')))"
    ),
    "CalendarIntervalType": "df = df.withColumn({name!r}, F.date_part(F.lit('DAY'), {ref!r}))",
}


def column_spec(field: T.StructField, where: str) -> ColumnSpec:
    """Return the spec of a column that reaches a model.

    Parameters
    ----------
    field : StructField
    where : str
        What the column is for, for the error.

    Raises
    ------
    ColumnError
        If no model input can take its type; says what mends it.
    """
    found = _classify(field.dataType)
    if found is None:
        raise ColumnError(
            f"{where}: column {field.name!r} has the type {_type_name(field.dataType)}, which no "
            f"model input can take\n{_mending(field, where)}"
        )
    dtype, depth = found
    binary = _is_binary(field.dataType)
    return ColumnSpec(name=field.name, dtype=dtype, shape=(None,) * depth, binary=binary)


def is_converted(field: T.StructField, spec: ColumnSpec) -> bool:
    """Whether a column is not yet of the Arrow type of its spec."""
    return is_vector(field.dataType) or field.dataType.simpleString() != _target(spec)


def converted(field: T.StructField, spec: ColumnSpec) -> Column:
    """Return the expression that converts a column to the Arrow type of its spec, on the JVM."""
    column = F.col(backticked(field.name))
    if is_vector(field.dataType):
        from pyspark.ml.functions import vector_to_array  # not above: SciPy comes with it

        # vector_to_array makes an object of each Vector and of each number, and raises for a null;
        # the worker's error names the column and the row.
        held = F.unwrap_udt(column)
        whole = F.when(held["type"] == SPARSE, vector_to_array(column, "float32"))
        return whole.otherwise(held["values"].cast("array<float>"))
    return column.cast(_target(spec)) if is_converted(field, spec) else column


def check_castable(
    field: T.StructField, spec: ColumnSpec, where: str, *, in_stack: bool = False
) -> None:
    """Raise `ColumnError` unless a column of another frame fits `spec` without a narrowing cast.

    In a stack, booleans beside numbers become numbers, too.
    """
    other = column_spec(field, where)
    same_depth = len(other.shape) == len(spec.shape)
    widens = _NUMBERS_WIDEN | (_BOOLEANS_WIDEN if in_stack else set())
    if same_depth and (other.dtype == spec.dtype or (other.dtype, spec.dtype) in widens):
        return
    target = _described(spec)
    advice = f"Make it {target} there too"
    if same_depth and not spec.shape and spec.dtype != "string":
        cast = f"F.col({quoted(field.name)!r}).cast({_SQL[spec.dtype]!r})"
        advice = f"Cast it there: df.withColumn({field.name!r}, {cast})"
    there = f"stacked as {spec.dtype}" if in_stack else target
    raise ColumnError(
        f"{where}: column {field.name!r} has the type {_type_name(field.dataType)}, but in the "
        f"training data it is {there}\n{advice}"
    )


def _classify(kind: T.DataType) -> tuple[str, int] | None:
    """Return dtype and nesting depth, or None for what no model input can take."""
    if is_vector(kind):
        return "float32", 1
    depth = 0
    while isinstance(kind, T.ArrayType):
        kind, depth = kind.elementType, depth + 1
    # A collated string is a StringType too. A user-defined type matches no other.
    dtype = next((d for known, d in _DTYPES.items() if isinstance(kind, known)), None)
    return None if dtype is None else (dtype, depth)


def _is_binary(kind: T.DataType) -> bool:
    while isinstance(kind, T.ArrayType):
        kind = kind.elementType
    return isinstance(kind, T.BinaryType)


def _target(spec: ColumnSpec) -> str:
    target = _SQL[spec.dtype]
    for _ in spec.shape:
        target = f"array<{target}>"
    return target


def is_vector(kind: T.DataType) -> bool:
    """Whether a column's type is that of Vectors."""
    # By name: pyspark.ml and pyspark.mllib each have one, and vector_to_array takes both.
    return isinstance(kind, T.UserDefinedType) and type(kind).__name__ == "VectorUDT"


def _type_name(kind: T.DataType) -> str:
    if isinstance(kind, T.UserDefinedType):
        return type(kind).__name__
    text = kind.simpleString()
    return text if len(text) <= 80 else f"{text[:80]}..."


def _described(spec: ColumnSpec) -> str:
    return "array of " * len(spec.shape) + spec.dtype


def _mending(field: T.StructField, where: str) -> str:
    name, kind = field.name, field.dataType
    if isinstance(kind, T.ArrayType):
        return f"Convert its elements with F.transform({quoted(name)!r}, ...), or explode it"
    if isinstance(kind, T.StructType):
        if not kind.names:
            return "Leave it out"
        inner = kind.names[0]
        path = f"{quoted(name)}.{quoted(inner)}"
        return (
            f"Use its fields as columns, for example: "
            f"df = df.withColumn({f'{name}_{inner}'!r}, F.col({path!r}))"
        )
    template = _MENDING.get(type(kind).__name__)
    if template is None:
        return "Turn it into a number, or an array of numbers, first"
    key, begin = "", "Convert it: "
    if isinstance(kind, T.MapType):
        key = "'a key'" if isinstance(kind.keyType, T.StringType) else "1"
        if key != "1" and where in ("feature_cols", "label_cols"):
            begin = (
                f"Name the model's own, {where}={{'a key': {name!r}}}, of a column of the entry: "
            )
    return begin + template.format(name=name, ref=quoted(name), key=key)
