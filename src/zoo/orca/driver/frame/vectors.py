"""Vectors of a frame as they go to the workers: the values of a sparse one, without its zeros.

`zoo.orca.wire.features.packed_name` says how they lie in a list, and
`zoo.orca.worker.rows.vectors` takes them out of it.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructField

from zoo.orca.driver.frame.columns import converted, is_vector
from zoo.orca.wire.features import EXACT, IS_DENSE, ColumnSpec, backticked, packed_name

#: What a row has of each Vector, in columns that end in its position.
_WHOLE, _TYPE, _SIZE, _PLACES, _FLOATS = "whole", "type", "size", "places", "floats"
#: Spark's number for the type of sparse Vectors, and for that of dense ones.
_SPARSE, _FULL = 0, 1


def opened(field: StructField, spec: ColumnSpec, at: int) -> list[Column]:
    """Return what Spark holds of a Vector, or of an array in the place of one, as columns."""
    whole = F.col(backticked(field.name))
    if is_vector(field.dataType):
        held = F.unwrap_udt(whole)
        kind, size, places = held["type"], held["size"], held["indices"]
        # The floats of vector_to_array, which makes an object of each Vector and each number.
        floats = held["values"].cast("array<float>")
    else:
        floats = converted(field, spec)
        kind = F.when(floats.isNotNull(), F.lit(_FULL).cast("tinyint"))
        size, places = F.lit(None).cast("int"), F.lit(None).cast("array<int>")
    parts = {_WHOLE: whole, _TYPE: kind, _SIZE: size, _PLACES: places, _FLOATS: floats}
    return [column.alias(f"{name}{at}") for name, column in parts.items()]


def packed(field: StructField, spec: ColumnSpec, at: int) -> list[Column]:
    """Return a list for each Vector, from what `opened` has made, and the column `hashed`."""
    kind, size, places, floats = (F.col(f"{n}{at}") for n in (_TYPE, _SIZE, _PLACES, _FLOATS))
    is_dense = F.array(F.lit(IS_DENSE).cast("float"))
    found, dense = F.concat(is_dense, floats), floats
    if is_vector(field.dataType):
        is_sparse = kind == _SPARSE
        is_short = (size <= EXACT) & (F.size(places) * 2 < size)
        sparse = F.concat(F.array(size.cast("float")), places.cast("array<float>"), floats)
        whole = converted(StructField(f"{_WHOLE}{at}", field.dataType), spec)
        found = (
            F.when(is_sparse & is_short, sparse)
            .when(is_sparse, F.concat(is_dense, whole))
            .otherwise(found)
        )
        dense = F.when(is_sparse, whole).otherwise(floats)
    return [found.alias(packed_name(at)), dense.alias(hashed(at))]


def hashed(at: int) -> str:
    """Return the column that gives a Vector's row its place: all values, zeros among them.

    So rows have the order that arrays of these values have. Where there is no exchange, Spark does
    not make it.
    """
    return f"c{at}"
