"""Lazy predictions: a `mapInArrow` that keeps every column and appends the model's outputs."""

import pickle
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, FloatType, StructField, StructType

from zoo.orca.driver.shipping import ship_package
from zoo.orca.driver.source import feature_columns
from zoo.orca.errors import ColumnError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import OutputSpec, PredictJob
from zoo.orca.worker.predict_task import make_predict_task

_PREFIX = "__orca_"


def predict_lazily(
    df: DataFrame,
    job: PredictJob,
    spec: FeatureSpec,
    outputs: Sequence[OutputSpec],
    names: Sequence[str],
) -> DataFrame:
    """Return `df` with one column for each output; nothing runs until an action.

    Raises
    ------
    ColumnError
        If an output's column is there already.
    """
    taken = [name for name in names if name in df.columns]
    if taken:
        raise ColumnError(
            f"the DataFrame already has a column {taken[0]!r}: name the predictions otherwise with "
            "output_cols, or drop the column"
        )
    ship_package(df.sparkSession)
    inputs = [column.alias(f"{_PREFIX}f{i}") for i, column in enumerate(feature_columns(df, spec))]
    widened = df.select("*", *inputs)
    raw = [f"{_PREFIX}p{index}" for index in range(len(outputs))]
    fields = [
        StructField(name, _type(output.rank)) for name, output in zip(raw, outputs, strict=True)
    ]
    schema = StructType([*df.schema.fields, *fields])
    predicted = widened.mapInArrow(make_predict_task(pickle.dumps(job), len(inputs)), schema)
    kept = [F.col(_quoted(name)) for name in df.columns]
    return predicted.select(
        *kept,
        *(
            _finished(source, output).alias(name)
            for source, output, name in zip(raw, outputs, names, strict=True)
        ),
    )


def _type(rank: int) -> DataType:
    found: DataType = FloatType()
    for _ in range(rank - 1):
        found = ArrayType(found)
    return found
