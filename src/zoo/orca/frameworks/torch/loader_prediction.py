"""Predictions of the batches of a user's loader."""

import torch

from zoo.orca.frameworks.torch.device import flat_tensors
from zoo.orca.frameworks.torch.loader_feed import LoaderFeed, spec_of
from zoo.orca.frameworks.torch.models import TorchModel
from zoo.orca.frameworks.torch.prediction import Call, array_of, has_own_prediction, outputs_of
from zoo.orca.frameworks.torch.row_shapes import RowShapes
from zoo.orca.frameworks.torch.saving.state import write_weights
from zoo.orca.wire.job import PredictCreatedJob
from zoo.orca.wire.packing import State
from zoo.orca.wire.plans.live import ENDLESS
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import Created, Predicted


def predict_batches(job: PredictCreatedJob, data: Created, collective: Collective) -> Predicted:
    """Predict this rank's batches; called on all ranks."""
    made = TorchModel(job)
    feed = LoaderFeed(data, collective, None, made.device)
    try:
        sample = feed.sample()
        outputs = outputs_of(made, sample, spec_of(sample).features)
        state = State.from_bytes(job.state) if job.state is not None else None
        if state is not None:
            write_weights(made.model, state)
        made.model.eval()
        call = Call(made, state)
        steps = []
        with torch.inference_mode():
            own = has_own_prediction(made)
            shapes = None if own else RowShapes(made.sample_output(sample))
            made.model.eval()
            for batch in feed.take(0, ENDLESS):
                if not batch.rows:
                    continue
                output = call(batch.features)
                if shapes is not None and batch.rows == 1:
                    output = shapes.of_one_row(output)
                found = flat_tensors(output)
                steps.append([array_of(found[one.name]) for one in outputs])
        return Predicted(steps=steps, outputs=outputs, is_dealt=feed.is_dealt)
    finally:
        feed.close()
