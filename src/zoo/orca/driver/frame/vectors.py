"""Vectors of a frame as they go to the workers: the values of a sparse one, without its zeros.

`zoo.orca.wire.features.packed_name` says how they lie in a list, and
`zoo.orca.worker.rows.vectors` takes them out of it.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructField

from zoo.orca.driver.frame.columns import SPARSE, is_vector
from zoo.orca.wire.features import EXACT, IS_DENSE, backticked

#: How Spark holds a Vector.
_STORED = "struct<type: tinyint, size: int, indices: array<int>, values: array<double>>"


def stored(field: StructField) -> Column:
    """Return a Vector as Spark holds it, a null in place of an array."""
    if is_vector(field.dataType):
        return F.unwrap_udt(F.col(backticked(field.name)))
    return F.lit(None).cast(_STORED)


def packed(vector: Column, dense: Column) -> Column:
    """Return a list for each Vector, from what `stored` returns and the array of all its values."""
    size, places = vector["size"], vector["indices"]
    is_short = (size <= EXACT) & (F.size(places) * 2 < size)
    sparse = F.concat(
        F.array(size.cast("float")),
        places.cast("array<float>"),
        vector["values"].cast("array<float>"),
    )
    return F.when((vector["type"] == SPARSE) & is_short, sparse).otherwise(
        F.concat(F.array(F.lit(IS_DENSE).cast("float")), dense)
    )
