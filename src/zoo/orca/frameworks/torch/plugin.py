"""The plug-in for PyTorch.

The loop is a plain one over tensors. With one worker, only progress is added.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace

import torch

from zoo.orca.errors import ModelError
from zoo.orca.frameworks.settings.fresh import renew_settings
from zoo.orca.frameworks.torch.device import moved
from zoo.orca.frameworks.torch.feed import Batch, BatchLayout, tensors_of
from zoo.orca.frameworks.torch.loader_prediction import predict_batches
from zoo.orca.frameworks.torch.models import TorchModel
from zoo.orca.frameworks.torch.nccl import Nccl
from zoo.orca.frameworks.torch.prediction import TorchPrediction, outputs_of
from zoo.orca.frameworks.torch.saving.state import read_state, write_weights
from zoo.orca.frameworks.torch.training import loop as torch_loop
from zoo.orca.frameworks.torch.training.session import TorchSession
from zoo.orca.wire.job import EvaluateJob, Job, PredictCreatedJob, PredictJob, TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.plugin import (
    Built,
    Columns,
    Created,
    Data,
    Evaluated,
    Framework,
    Predicted,
    Predictor,
    Trained,
    World,
)


class Torch:
    """Implements `zoo.orca.worker.plugin.Framework`."""

    def prepare(self, job: Job, threads: int) -> None:
        """Set threads while rows move; other settings are those of a fresh process."""
        renew_settings()
        if threads:
            torch.set_num_threads(threads)
            # Fixed once anything has run in parallel, so a warm child keeps its first job's
            # setting.
            with contextlib.suppress(RuntimeError):
                torch.set_num_interop_threads(1)
        logging.getLogger("torch").setLevel(logging.WARNING)

    def make(self, job: Job) -> None:
        """No-op: the session makes the model, with the rows."""

    def train(self, job: TrainJob, data: Data, validation: Data | None, world: World) -> Trained:
        """Run the epochs."""
        with _on_gpus(job, world) as world:
            return torch_loop.train(TorchSession(job, data, world), job, data, validation, world)

    def evaluate(self, job: EvaluateJob, data: Data, world: World) -> Evaluated:
        """Run one pass."""
        with _on_gpus(job, world) as world:
            return torch_loop.evaluate(TorchSession(job, data, world), job, data)

    def predict_created(self, job: PredictCreatedJob, data: Created, world: World) -> Predicted:
        """Predict this rank's batches."""
        return predict_batches(job, data, world.collective)

    def build(self, job: Job, sample: Columns | None) -> Built:
        """Make the model, and call it once for its outputs."""
        made = TorchModel(job)
        if not job.columns.features:
            if any(map(torch.nn.parameter.is_lazy, made.model.parameters())):
                raise ModelError(
                    "the model has lazy layers, and no batch was seen yet\n"
                    "Fit, evaluate or predict first"
                )
            return Built(read_state(made.model, {"epoch": 0, "step": 0}), ())
        layout = BatchLayout(job.columns)
        if sample is not None and len(next(iter(sample.values()))):
            some = {name: values[:2] for name, values in sample.items()}
            tensors = moved(tensors_of(layout, some), made.device)
            batch = Batch(layout.pack_features(tensors), None, None, 2, 2)
        else:
            batch = made.placeholder(layout)
        outputs = outputs_of(made, batch, job.columns.features)
        if job.state is not None:
            write_weights(made.model, State.from_bytes(job.state))
        return Built(read_state(made.model, {"epoch": 0, "step": 0}), outputs)

    def predictor(self, job: PredictJob) -> Predictor:
        """Return a predictor with the job's state."""
        return TorchPrediction(job)


@contextlib.contextmanager
def _on_gpus(job: Job, world: World) -> Iterator[World]:
    """Let workers with GPUs sum gradients there, for the duration of a job."""
    if not job.gpus:
        yield world
        return
    group = Nccl.connect(world.collective)
    try:
        yield replace(world, collective=group)
    finally:
        group.close()
        # A warm child that waits must not keep memory from the GPU's next user.
        torch.cuda.empty_cache()


def framework() -> Framework:
    """Return the plug-in."""
    return Torch()
