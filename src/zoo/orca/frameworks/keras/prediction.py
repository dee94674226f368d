"""Predictions with a Keras model, which the first rows may build."""

from typing import Any

from numpy.typing import NDArray

from zoo.orca.frameworks.keras.columns.culprit import broken_row
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.saving.state import write_state
from zoo.orca.wire.job import PredictJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import Columns


class Prediction:
    """Implements `zoo.orca.worker.plugin.Predictor`.

    A model that is built by its first batch gets its state afterwards.
    """

    def __init__(self, made: KerasModel, layout: InputLayout, job: PredictJob) -> None:
        self._made, self._layout, self._spec = made, layout, job.columns
        self._state = State.from_bytes(job.state) if job.state is not None else None
        fixed = made.is_static or layout.placeholder() is not None
        self._predict = made.backend.predict(made, layout, fixed=fixed)
        self._suits = 0

    @property
    def is_as_new(self) -> bool:
        """Whether another prediction of the same job finds the model as if it were made anew.

        Predictions must leave no trace in it. Its weights must be those of the job, because what a
        creator reads from elsewhere may have changed since.
        """
        return bool(self._suits) and self._state is not None and self._predict.is_pure

    def begin(self, sample: Columns) -> int:
        """Build the model, load its state, and return how many rows suit it."""
        if self._suits:
            return self._suits
        made = self._made
        if not made.is_static:
            made.build(self._layout, self._layout.feature_arrays(sample))
        if self._state is not None:
            write_state(made, self._state, optimizers=False)
        self._suits = int(self._predict.rows_at_once)
        return self._suits

    def __call__(self, columns: Columns) -> list[NDArray[Any]]:
        """Return the outputs for these rows."""
        try:
            return list(self._predict(self._layout.feature_arrays(columns)))
        except Exception as error:
            broken = broken_row(error, self._made, self._layout, self._spec, columns)
            if broken is not None:
                raise broken from error
            raise

    def end(self) -> None:
        """No-op: nothing is held."""
