"""A prediction as a function of columns: for `withColumn`, SQL and streams."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pyspark
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from zoo.orca.driver.early_child import begin, door
from zoo.orca.driver.output_types import column_type
from zoo.orca.driver.session.gpus import gpu_profile
from zoo.orca.driver.session.pythons import check_python, keep_own_python, workers_python
from zoo.orca.driver.session.settings import heartbeat_seconds
from zoo.orca.driver.session.shipping import ship_package
from zoo.orca.errors import DeviceError, InvalidInputError, MissingPackageError
from zoo.orca.wire.features import quoted
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.predicting.argument_names import argument_names, wrong_count
from zoo.orca.wire.predicting.column_forms import ColumnForm, ColumnKind, is_vector
from zoo.orca.worker.task.column_task import ColumnFunction, make_column_task

#: What `spark.udf.register` looks for in a function.
_OF_A_UDF = ("func", "returnType", "evalType", "deterministic", "asNondeterministic")


def column_function(
    spark: SparkSession,
    job: PredictJob,
    forms: Sequence[ColumnForm],
    names: Sequence[str],
    numbers_only: str,
) -> Callable[..., Column]:
    """Return the function that makes a column of predictions of the model's columns.

    Parameters
    ----------
    spark : SparkSession
    job : PredictJob
    forms : sequence of ColumnForm
        What is given of each output.
    names : sequence of str
        The outputs' names; several outputs are the fields of a struct.
    numbers_only : str
        The framework's name for users, if it has no tensors of strings.

    Raises
    ------
    DeviceError
        If the tasks would need a profile of their own for GPUs.
    MissingPackageError
        If pyspark is too old.
    """
    check_python(spark)
    ship_package(spark)
    keep_own_python(spark)
    begin(spark, job, 1)
    if gpu_profile(spark, job.gpus) is not None:
        raise DeviceError(
            f"num_gpus_per_worker={job.gpus}: a function of columns runs in the tasks of others, "
            "and cannot ask for GPUs of its own\nUse predict, or start the session with "
            f"spark.task.resource.gpu.amount={job.gpus}"
        )
    several = len(names) > 1
    vectors = [is_vector(one, form) for one, form in zip(job.outputs, forms, strict=True)]
    # Spark 4.3 fails on Vectors that a function returns for rows of Parquet or of a cached frame.
    forms = [
        replace(form, kind=ColumnKind.ARRAY) if vector else form
        for form, vector in zip(forms, vectors, strict=True)
    ]
    function = ColumnFunction(
        job=job,
        forms=tuple(forms),
        names=tuple(names) if several else (),
        numbers_only=numbers_only,
        heartbeat=heartbeat_seconds(spark),
        early=door(spark),
    )
    types = [column_type(one, form) for one, form in zip(job.outputs, forms, strict=True)]
    fields = [T.StructField(name, one) for name, one in zip(names, types, strict=True)]
    made = _arrow_udf()(make_column_task(function), T.StructType(fields) if several else types[0])
    arguments = argument_names(job.columns)

    def predicted(*columns: Column | str) -> Column:
        """Return the prediction for a row of these columns; by default those of the model."""
        given = columns or tuple(F.col(quoted(name)) for name in arguments)
        if len(given) != len(arguments):
            raise InvalidInputError(wrong_count(arguments, len(given)))
        with workers_python(spark):
            found: Column = made(*given)
        return _with_vectors(found, vectors, names)

    for name in _OF_A_UDF:
        setattr(predicted, name, getattr(made, name))
    return predicted


def _with_vectors(found: Column, vectors: Sequence[bool], names: Sequence[str]) -> Column:
    """Return what a function gives with Vectors in place of the arrays that stand for them."""
    if not any(vectors):
        return found
    from pyspark.ml.functions import array_to_vector  # not above: SciPy comes with it

    if len(names) == 1:
        return array_to_vector(found)
    fields = [
        (array_to_vector(found.getField(name)) if vector else found.getField(name)).alias(name)
        for name, vector in zip(names, vectors, strict=True)
    ]
    return F.struct(*fields)


def _arrow_udf() -> Callable[..., Any]:
    found: Callable[..., Any] | None = getattr(F, "arrow_udf", None)
    if found is None:
        raise MissingPackageError(
            f"predict_udf needs pyspark 4.1 or newer, and this is {pyspark.__version__}\n"
            "Use predict, or install it: pip install 'pyspark>=4.1'"
        )
    return found
