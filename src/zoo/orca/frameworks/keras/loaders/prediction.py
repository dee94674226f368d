"""Predictions of the batches of a user's loader."""

from zoo.orca.frameworks.keras.loaders.layout import KerasParts, LoaderLayout
from zoo.orca.frameworks.keras.models import KerasModel
from zoo.orca.frameworks.keras.outputs import outputs_of
from zoo.orca.frameworks.keras.saving.state import write_state
from zoo.orca.wire.job import PredictCreatedJob
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created, Predicted


def predict_batches(
    made: KerasModel, job: PredictCreatedJob, data: Created, collective: Collective
) -> Predicted:
    """Predict this rank's batches; called on all ranks."""
    parts = KerasParts(data, needs_labels=False, class_weight=None)
    feed = made.backend.loader_feed(data, collective, parts)
    try:
        layout = LoaderLayout(feed.inputs())
        outputs = outputs_of(made, layout, layout.feature_arrays(feed.inputs()))
        if job.state is not None:
            write_state(made, State.from_bytes(job.state), optimizers=False)
        predict = made.backend.predict(made, layout, fixed=False)
        steps = [
            predict(layout.feature_arrays(step.parts["x"]))
            for step in feed.stream.take(ENDLESS, agree=False)
        ]
        return Predicted(steps=steps, outputs=outputs, is_dealt=feed.stream.loader.is_dealt)
    finally:
        feed.close()
