"""Labels as Spark ML has them: doubles, also for classes; and marks of rows that validate."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.errors import ColumnError, DataError
from zoo.orca.wire.features import quoted

_WHOLE = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_MEASURED = (T.FloatType, T.DoubleType, T.DecimalType)
#: Larger numbers are no classes, and no `int` of Spark's.
_LARGEST = (1 << 31) - 1


def with_classes(dataset: DataFrame, column: str) -> DataFrame:
    """Return a dataset whose labels are whole numbers: floats are cast where they are whole.

    Where one is not, whoever reads the rows fails with a `DataError` that names it.

    Raises
    ------
    ColumnError
        If labels are no numbers.
    """
    field = _field(dataset, column)
    if field is None or isinstance(field.dataType, _WHOLE):
        return dataset
    if isinstance(field.dataType, _MEASURED):
        return dataset.withColumn(field.name, _whole(column))
    if not isinstance(field.dataType, T.BooleanType):
        raise _no_number(field, "StringIndexer of pyspark.ml.feature gives each class a number")
    return dataset.withColumn(field.name, F.col(quoted(column)).cast("int"))


def check_numbers(dataset: DataFrame, column: str) -> None:
    """Raise `ColumnError` unless labels are numbers."""
    field = _field(dataset, column)
    if field is not None and not isinstance(field.dataType, (*_WHOLE, *_MEASURED)):
        raise _no_number(field, f"Make numbers of them: F.col({quoted(column)!r}).cast('double')")


def check_marks(dataset: DataFrame, column: str) -> None:
    """Raise `ColumnError` unless a column says which rows validate: by booleans, or by 0 and 1."""
    field, ref = _field(dataset, column), quoted(column)
    if field is None:
        raise ColumnError(
            f"validationIndicatorCol: the DataFrame has not one column {column!r}\n"
            f"It has the columns {', '.join(map(repr, dataset.columns))}"
        )
    if not isinstance(field.dataType, (T.BooleanType, *_WHOLE, *_MEASURED)):
        raise ColumnError(
            f"validationIndicatorCol: column {column!r} is a {field.dataType.simpleString()}, and "
            "it is true for rows that validate\n"
            f"Make booleans of it: df.withColumn({column!r}, F.col({ref!r}) == ...)"
        )


def _field(dataset: DataFrame, column: str) -> T.StructField | None:
    """Return a column's field; None if there is none, or several, of which `fit` tells."""
    fields = [one for one in dataset.schema.fields if one.name.lower() == column.lower()]
    exact = [one for one in fields if one.name == column]
    found = exact if len(fields) > 1 else fields
    return found[0] if len(found) == 1 else None


def _whole(column: str) -> Column:
    """Return labels as whole numbers; a task that meets another fails by an error of Orca's."""
    number = F.col(quoted(column)).cast("double")
    # Spark takes NaN for equal to itself.
    is_whole = (number == F.rint(number)) & ~F.isnan(number) & (F.abs(number) <= _LARGEST)
    told = F.concat(
        F.lit(f"{DataError.__module__}.{DataError.__name__}: labelCol: column {column!r} has "),
        number.cast("string"),
        F.lit(
            f", and classes are whole numbers\nMake classes of it, with "
            f"F.round({quoted(column)!r}) or Bucketizer; a regressor takes numbers that are "
            "measured"
        ),
    )
    # Not a job of its own before the fit: that took a tenth of a search over small fits.
    return F.when(number.isNull() | is_whole, number.cast("int")).otherwise(F.raise_error(told))


def _no_number(field: T.StructField, way: str) -> ColumnError:
    kind = field.dataType.simpleString()
    return ColumnError(
        f"labelCol: column {field.name!r} is a {kind}, and labels are numbers\n{way}"
    )
