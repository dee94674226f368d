"""The task of a column function: Spark's arguments go where the columns of `predict` go.

The rows take the way of a lazy prediction (`zoo.orca.worker.task.predict_task`), the same warm
child included. Only the arguments come here: Spark keeps a row's other columns to itself.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa

from zoo.orca.errors import OrcaError
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.predicting.column_forms import ColumnForm
from zoo.orca.worker.rows.arguments import Arguments, columns_of
from zoo.orca.worker.task.predict_task import make_predict_task


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFunction:
    """What a column function does of a job.

    Parameters
    ----------
    job : PredictJob
        The types of its columns follow the arguments.
    forms : tuple of ColumnForm
        What is given of each output.
    names : tuple of str
        The fields of a struct, one for each output; empty for one output alone.
    numbers_only : str
        The framework's name for users, if it has no tensors of strings.
    heartbeat : float
        Seconds of silence after which the child counts as frozen.
    early : str
        The name of a door of the driver's (`zoo.orca.driver.early_child`), if there is one.
    """

    job: PredictJob
    forms: tuple[ColumnForm, ...]
    names: tuple[str, ...]
    numbers_only: str
    heartbeat: float
    early: str


def make_column_task(
    function: ColumnFunction,
) -> Callable[[Iterator[tuple[pa.Array, ...]]], Iterator[pa.Array]]:
    """Return the function for `arrow_udf` that predicts a row of its arguments."""

    # Spark calls a column after its function.
    def predict(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        given = columns_of(batches)
        first = next(given, None)
        if first is None:  # an empty partition starts nothing
            return
        try:
            arguments = _arguments(function, first)
        except OrcaError:
            # As in the task of a prediction: Spark would print this file's frames above the error.
            os.environ["SPARK_HIDE_TRACEBACK"] = "1"
            raise
        job = replace(function.job, columns=arguments.columns)
        places = range(len(arguments.columns.columns))
        task = make_predict_task(job, 0, places, function.heartbeat, function.forms, function.early)
        for answer in task(map(arguments.batch, chain([first], given))):
            yield _column(answer, function.names)

    return predict


def _arguments(function: ColumnFunction, arrays: Sequence[pa.Array]) -> Arguments:
    kinds = [array.type for array in arrays]
    return Arguments(function.job.columns, kinds, function.numbers_only)


def _column(answer: pa.RecordBatch, names: Sequence[str]) -> pa.Array:
    if not names:
        return answer.column(0)
    return pa.StructArray.from_arrays(answer.columns, list(names))
