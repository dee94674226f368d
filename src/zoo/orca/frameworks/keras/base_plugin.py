"""The common part of the plug-ins for Keras; `tf2` and `keras` prepare different versions.

The loop is Keras's own. With one worker, only a progress callback is added.
"""

from typing import Any

from numpy.typing import NDArray

from zoo.orca.errors import ModelError, RowsNeededError
from zoo.orca.frameworks.keras.columns.inputs import InputLayout
from zoo.orca.frameworks.keras.loaders.prediction import predict_batches
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.outputs import outputs_of
from zoo.orca.frameworks.keras.prediction import Prediction
from zoo.orca.frameworks.keras.saving.state import read_state, write_state
from zoo.orca.frameworks.keras.training import loop as keras_loop
from zoo.orca.wire.job import EvaluateJob, Job, PredictCreatedJob, PredictJob, TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import (
    Built,
    Columns,
    Created,
    Data,
    Evaluated,
    Predicted,
    Predictor,
    Trained,
    World,
)


class KerasPlugin:
    """All of `zoo.orca.worker.plugin.Framework` but `prepare`."""

    def __init__(self) -> None:
        self._waiting: KerasModel | None = None

    def make(self, job: Job) -> None:
        """Make the model of a `fit` or `evaluate`, and check all that needs no rows."""
        if isinstance(job, (TrainJob, EvaluateJob)):
            self._waiting = _made_for(job)

    def train(self, job: TrainJob, data: Data, validation: Data | None, world: World) -> Trained:
        """Run `Model.fit`."""
        return keras_loop.train(self._made(job), job, data, validation, world)

    def evaluate(self, job: EvaluateJob, data: Data, world: World) -> Evaluated:
        """Run `Model.evaluate`."""
        return keras_loop.evaluate(self._made(job), job, data, world)

    def predict_created(self, job: PredictCreatedJob, data: Created, world: World) -> Predicted:
        """Predict this rank's batches."""
        return predict_batches(KerasModel(job), job, data, world.collective)

    def _made(self, job: TrainJob | EvaluateJob) -> KerasModel:
        made, self._waiting = self._waiting, None
        return made if made is not None else _made_for(job)

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Build the model, with `sample` if it is built by its first batch."""
        made = KerasModel(job)
        if not job.columns.features:
            return Built(read_state(made, _made_alone(made)), ())
        layout = made.layout(job.columns)
        outputs = outputs_of(made, layout, _features(layout, sample))
        if job.state is not None:
            write_state(made, State.from_bytes(job.state), optimizers=False)
        return Built(read_state(made, {"epoch": 0, "step": 0}), outputs)

    def predictor(self, job: PredictJob) -> Predictor:
        """Return a predictor with the job's state."""
        made = KerasModel(job)
        return Prediction(made, made.layout(job.columns), job)


def _made_alone(made: KerasModel) -> dict[str, int]:
    """Return what a state says of a model that nothing has trained; refuse one without weights."""
    if not made.is_static:
        raise ModelError(
            "the model is built by its first batch, and no batch was seen yet\nFit, evaluate "
            "or predict first, or give its inputs shapes (keras.Input)"
        )
    return {"epoch": 0, "step": 0}


def _made_for(job: TrainJob | EvaluateJob) -> KerasModel:
    """Return the model, checked for training or evaluation with the job's columns."""
    what = "fit" if isinstance(job, TrainJob) else "evaluate"
    made = KerasModel(job)
    made.require_compiled(what)
    if isinstance(job, TrainJob):
        made.require_optimizer()
    if job.creator is not None:
        return made
    if job.model.transform is None:  # else only rows show what the inputs are
        made.layout(job.columns)
    if not job.columns.labels:
        made.require_no_labels(what)
    return made


def _features(layout: InputLayout, sample: Columns | None) -> dict[str, NDArray[Any]]:
    """Return a few rows of the inputs: existing ones, or zeros."""
    if sample is not None:
        return layout.feature_arrays({name: values[:2] for name, values in sample.items()})
    placeholder = layout.placeholder()
    if placeholder is None:
        raise RowsNeededError(
            "the model is built by its first batch, and there is no row to build it with\n"
            "Give its inputs shapes (keras.Input), fit or load first, or pass rows"
        )
    return placeholder
