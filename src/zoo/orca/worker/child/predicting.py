"""Predictions in the child: one model for many messages, called with a suitable number of rows."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import ModelError
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.messages.pipe import Batches, End, Predict, Ready
from zoo.orca.wire.outputs import as_dtype, joined, rows_of
from zoo.orca.wire.packing import unpack
from zoo.orca.worker.child.mailbox import Letters
from zoo.orca.worker.child.transforming import transform_of
from zoo.orca.worker.pipes import Sender
from zoo.orca.worker.plugin import Columns, Framework, Predictor
from zoo.orca.worker.predictions import decode, predictions
from zoo.orca.worker.rows.dataset import batch_columns
from zoo.orca.worker.rows.transform import Made

#: The number of first rows that build a model which needs rows to be built.
_SAMPLE_ROWS = 2


class Calls:
    """Calls a model and checks that each output of each call has one entry for each row.

    Parameters
    ----------
    predictor : Predictor
    job : PredictJob
        Its outputs are those that the prediction columns were made for.
    """

    def __init__(self, predictor: Predictor, job: PredictJob) -> None:
        self._predict, self._specs = predictor, job.outputs
        self._transform, self._called = transform_of(job), 0
        self._made = Made(spec=job.inputs) if job.inputs is not None else None
        self._arrays = job.columns.arrays
        self._given = job.batch_size
        self._most: int | None = None

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return the outputs for these rows, in the job's dtypes.

        Raises
        ------
        ModelError
            If the model does not return one entry for each row.
        """
        rows = len(next(iter(columns.values())))
        if not rows:
            return [_nothing(spec.row_shape, spec.dtype) for spec in self._specs]
        if self._most is None:
            fitting = self._predict.begin(self._inputs(_cut(columns, 0, _SAMPLE_ROWS)))
            self._most = self._given or fitting
        calls = [
            self._checked(_cut(columns, start, self._most)) for start in range(0, rows, self._most)
        ]
        return [
            joined(list(pieces), spec)
            for pieces, spec in zip(zip(*calls, strict=True), self._specs, strict=True)
        ]

    def end(self) -> None:
        """Tell a model that has seen rows that there are no more."""
        if self._most is not None:
            self._predict.end()

    def _checked(self, columns: Columns) -> list[NDArray[Any]]:
        rows = len(next(iter(columns.values())))
        outputs = self._predict(self._inputs(columns))
        if len(outputs) != len(self._specs):
            raise ModelError(
                f"the model returned {len(outputs)} outputs for {rows} rows, and "
                f"{len(self._specs)} when it was built\nReturn the same outputs in every call"
            )
        return [
            as_dtype(rows_of(np.asarray(output), rows, spec), spec)
            for output, spec in zip(outputs, self._specs, strict=True)
        ]

    def _inputs(self, columns: Columns) -> Columns:
        """Return what the job's transform makes of some rows."""
        if self._transform is None or self._made is None:
            return columns
        self._called += 1
        raw = {name: columns[name] for name in self._arrays}
        found = self._transform(raw, training=False, place=(self._called, 0))
        return self._made.checked(found, len(next(iter(columns.values()))))


class Kept:
    """The predictor of the last job, for a next one that is the same: weights, columns and all.

    A `DataFrame` has a task for each partition, and is often predicted again. To make and trace a
    model takes as long as to predict half a million rows. A digest stands for a job, because the
    job itself holds all weights.
    """

    def __init__(self) -> None:
        self._digest = b""
        self._predictor: Predictor | None = None

    def take(self, packed: bytes) -> Predictor | None:
        """Return the predictor if it is of this job; in any case nothing is kept any longer."""
        predictor, self._predictor = self._predictor, None
        digest = hashlib.sha256(packed).digest()
        is_same, self._digest = digest == self._digest, digest
        return predictor if is_same else None

    def keep(self, predictor: Predictor) -> None:
        """Keep the predictor of the job that was asked for last."""
        self._predictor = predictor

    def forget(self) -> None:
        """Keep nothing."""
        self._predictor = None


def serve_predictions(
    message: Predict,
    sender: Sender,
    letters: Letters,
    load: Callable[[PredictJob], Framework],
    kept: Kept,
) -> None:
    """Answer every `Batches` with `Predictions` until `End` comes."""
    job = cast(PredictJob, unpack(message.job))
    predictor = kept.take(message.job)
    if predictor is None:
        of_model = job if job.inputs is None else replace(job, columns=job.inputs)
        predictor = load(job).predictor(of_model)
    calls = Calls(predictor, job)
    sender.send(Ready())
    while isinstance(command := letters.take(Batches, End), Batches):
        outputs = calls(batch_columns(decode(command.stream.whole), job.columns))
        sender.send(predictions(outputs, job.outputs))
    calls.end()
    if predictor.is_as_new:
        kept.keep(predictor)


def _cut(columns: Mapping[str, NDArray[Any]], start: int, rows: int) -> dict[str, NDArray[Any]]:
    return {name: values[start : start + rows] for name, values in columns.items()}


def _nothing(row_shape: tuple[int | None, ...], dtype: str) -> NDArray[Any]:
    kind = object if dtype == "string" else np.dtype(dtype)
    return np.empty((0, *(length or 0 for length in row_shape)), kind)
