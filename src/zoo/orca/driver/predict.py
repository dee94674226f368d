"""Lazy predictions: a `mapInArrow` that keeps every column and appends the model's outputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import types as T

from zoo.orca.driver.early_child import begin, door
from zoo.orca.driver.frame.columns import is_converted
from zoo.orca.driver.frame.source import feature_columns, is_case_sensitive
from zoo.orca.driver.output_types import column_type
from zoo.orca.driver.reports.failures import translate
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.gpus import gpu_profile
from zoo.orca.driver.session.interrupts import interruptible
from zoo.orca.driver.session.pythons import check_python, workers_python
from zoo.orca.driver.session.settings import full_traceback, heartbeat_seconds
from zoo.orca.driver.session.shipping import ship_package
from zoo.orca.errors import ColumnError
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.predicting.column_forms import ColumnForm, usual
from zoo.orca.worker.task.predict_task import make_predict_task


@dataclass(frozen=True, slots=True)
class Answer:
    """What a prediction is to have.

    Parameters
    ----------
    keeps_columns : bool
        Whether all columns of the DataFrame come before the outputs; else there are only these.
    has_vectors : bool
        Whether there are Vectors; else there are arrays in their place.
    """

    keeps_columns: bool = True
    has_vectors: bool = True


def predict_lazily(
    df: DataFrame,
    job: PredictJob,
    names: Sequence[str],
    answer: Answer,
    forms: Sequence[ColumnForm] | None = None,
) -> DataFrame:
    """Return `df` with one column for each of the job's outputs; nothing runs until an action.

    `forms` says what each column holds; by default what is usual for `answer`.

    Raises
    ------
    ColumnError
        If an output's column exists already, or a column cannot pass through Python.
    DeviceError
        If the executors lack the GPUs that the job needs.
    """
    if forms is None:
        forms = [usual(answer.has_vectors)] * len(job.outputs)
    # Over Spark Connect each look makes a schema anew.
    fields = df.schema.fields
    _check_names(df, fields, names)
    check_python(df.sparkSession)
    ship_package(df.sparkSession)
    begin(df.sparkSession, job, 1)
    if not answer.keeps_columns:
        fields = []
    places, added = _inputs(df, fields, job)
    # Our own names, by position: the user's may repeat, or differ only in case.
    given = [f"k{index}" for index in range(len(fields) + len(added))]
    all_kept = ["*"] if fields else []
    widened = df.select(*all_kept, *added).toDF(*given)
    # The user's names, in the schema: a projection behind it would copy every row.
    schema = T.StructType(
        [
            *(T.StructField(one.name, one.dataType, metadata=one.metadata) for one in fields),
            *(
                T.StructField(name, column_type(output, form))
                for name, output, form in zip(names, job.outputs, forms, strict=True)
            ),
        ]
    )
    heartbeat = heartbeat_seconds(df.sparkSession)
    task = make_predict_task(job, len(fields), places, heartbeat, forms, door(df.sparkSession))
    profile = gpu_profile(df.sparkSession, job.gpus)
    with workers_python(df.sparkSession):
        return widened.mapInArrow(task, schema, profile=profile)


def collected(predicted: DataFrame) -> pa.Table:
    """Run a prediction and return its rows, in their order.

    Raises
    ------
    OrcaError
        What went wrong on a worker, or with the job.
    """
    spark = predicted.sparkSession
    try:
        rows: pa.Table = interruptible(spark, predicted.toArrow)
    except spark_errors() as error:
        # Not `from error`: Python would print Spark's pages of Java above the line that counts.
        found = translate(error, 0, spark)
        raise found from (error if full_traceback(spark) else None)
    return rows


def _check_names(df: DataFrame, fields: Sequence[T.StructField], names: Sequence[str]) -> None:
    def known_as(name: str) -> str:
        return name if exact else name.lower()

    exact = is_case_sensitive(df)
    there, found = {known_as(field.name) for field in fields}, set[str]()
    for name in names:
        if known_as(name) in there:
            raise ColumnError(
                f"the DataFrame already has a column {name!r}, which predictions would be called\n"
                f"Name them otherwise with output_cols, or drop the column: df.drop({name!r})"
            )
        if known_as(name) in found:
            raise ColumnError(
                f"two outputs would be the column {name!r}: {list(names)}\n"
                "Give each output a column of its own with output_cols"
            )
        found.add(known_as(name))
    for field in fields:
        if isinstance(field.dataType, T.YearMonthIntervalType):
            raise ColumnError(
                f"column {field.name!r} is a {field.dataType.simpleString()}, which Spark cannot "
                f"pass through Python\nDrop it, or cast it: F.col({field.name!r}).cast('string')"
            )


def _inputs(
    df: DataFrame, fields: Sequence[T.StructField], job: PredictJob
) -> tuple[list[int], list[Column]]:
    """Return the position of each of the model's columns, and the columns to add.

    A column that is kept and has the right type is not sent twice, because every column costs Spark
    time.
    """
    known = {field.name: (place, field) for place, field in enumerate(fields)}
    places: list[int] = []
    added: list[Column] = []
    for spec, column in zip(job.columns.columns, feature_columns(df, job.columns), strict=True):
        place, field = known.get(spec.sources[0], (0, None))
        if field is None or spec.parts or is_converted(field, spec):
            place = len(fields) + len(added)
            added.append(column)
        places.append(place)
    return places, added
