"""Lazy predictions: a `mapInArrow` that keeps every column and appends the model's outputs."""

import pickle
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    FloatType,
    StructField,
    StructType,
    YearMonthIntervalType,
)

from zoo.orca.driver.columns import is_converted
from zoo.orca.driver.gpus import gpu_profile
from zoo.orca.driver.settings import heartbeat_seconds
from zoo.orca.driver.shipping import ship_package
from zoo.orca.driver.source import feature_columns
from zoo.orca.errors import ColumnError
from zoo.orca.wire.job import OutputSpec, PredictJob
from zoo.orca.worker.predict_task import make_predict_task


def predict_lazily(
    df: DataFrame, job: PredictJob, outputs: Sequence[OutputSpec], names: Sequence[str]
) -> DataFrame:
    """Return `df` with one column for each output; nothing runs until an action.

    Raises
    ------
    ColumnError
        If an output's column is there already, or a column cannot pass through Python.
    DeviceError
        If the executors do not have the GPUs that the job needs.
    """
    _check_names(df, names)
    ship_package(df.sparkSession)
    places, added = _inputs(df, job)
    # Names of our own, by position: the user's may repeat, or differ in nothing but case.
    kept = [f"k{index}" for index in range(len(df.columns))]
    raw = [f"p{index}" for index in range(len(outputs))]
    widened = df.select("*", *added).toDF(*kept, *(f"c{i}" for i in range(len(added))))
    schema = StructType(
        [
            *(StructField(n, f.dataType) for n, f in zip(kept, df.schema.fields, strict=True)),
            *(StructField(n, _type(o.rank)) for n, o in zip(raw, outputs, strict=True)),
        ]
    )
    heartbeat = heartbeat_seconds(df.sparkSession)
    task = make_predict_task(pickle.dumps(job), len(kept), places, heartbeat)
    predicted = widened.mapInArrow(task, schema, profile=gpu_profile(df.sparkSession, job.gpus))
    return predicted.select(
        *(
            F.col(name).alias(field.name, metadata=field.metadata)
            for name, field in zip(kept, df.schema.fields, strict=True)
        ),
        *(F.col(source).alias(name) for source, name in zip(raw, names, strict=True)),
    )


def _check_names(df: DataFrame, names: Sequence[str]) -> None:
    there = {name.lower() for name in df.columns}
    for name in names:
        if name.lower() in there:
            raise ColumnError(
                f"the DataFrame already has a column {name!r}: name the predictions otherwise "
                "with output_cols, or drop the column"
            )
    for field in df.schema.fields:
        if isinstance(field.dataType, YearMonthIntervalType):
            raise ColumnError(
                f"column {field.name!r} is a {field.dataType.simpleString()}, which Spark cannot "
                f"pass through Python: drop it, or cast it: F.col({field.name!r}).cast('string')"
            )


def _inputs(df: DataFrame, job: PredictJob) -> tuple[list[int], list[Column]]:
    """Return where each of the model's columns will be, and the columns to add for that.

    One that is of the right type already is not sent twice: rows cost Spark by the column.
    """
    fields = {field.name: (place, field) for place, field in enumerate(df.schema.fields)}
    places: list[int] = []
    added: list[Column] = []
    for spec, column in zip(job.columns.columns, feature_columns(df, job.columns), strict=True):
        place, field = fields[spec.name]
        if is_converted(field, spec):
            place = len(df.columns) + len(added)
            added.append(column)
        places.append(place)
    return places, added


def _type(rank: int) -> DataType:
    """Return the type in which an output of that rank, batch axis counted, leaves Python."""
    if rank == 2:
        from pyspark.ml.linalg import VectorUDT  # not above: SciPy comes with it

        return VectorUDT()
    found: DataType = FloatType()
    for _ in range(rank - 1):
        found = ArrayType(found)
    return found
