"""Predictions of a creator's batches, put in order on one rank."""

import numpy as np

from zoo.orca.errors import WorkerError
from zoo.orca.wire.features import FeatureSpec
from zoo.orca.wire.job import PredictCreatedJob
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.plugin import AtEnd, Created, Framework, Predicted, World


def predict_created(
    framework: Framework, job: PredictCreatedJob, world: World, at_end: AtEnd
) -> Outcome:
    """Predict on all ranks; rank 0's outcome has all outputs, one array for each."""
    if job.creator is None:
        raise TypeError("a prediction of batches needs a creator")
    data = Created(
        creator=job.creator,
        config=job.model.config,
        argument="data",
        batch_size=job.batch_size,
        seed=job.seed,
        role="predict",
        report=world.report,
        at_end=at_end,
    )
    predicted = framework.predict_created(job, data, world)
    whole = _gathered(predicted, world.collective)
    return Outcome(
        columns=FeatureSpec(features=()),
        outputs=predicted.outputs,
        state=whole.to_bytes() if world.rank == 0 else b"",
    )


def _gathered(predicted: Predicted, collective: Collective) -> State:
    """Return all ranks' outputs: step by step if they were dealt out, else rank by rank."""
    names = [str(number) for number in range(len(predicted.outputs))]
    if any(array.dtype == object for step in predicted.steps for array in step):
        raise WorkerError(
            "the model's predictions are text, and those of a creator come back as numbers\n"
            "Predict a DataFrame, whose column of predictions may hold text"
        )
    own = {
        f"{step}.{name}": array
        for step, arrays in enumerate(predicted.steps)
        for name, array in zip(names, arrays, strict=True)
    }
    told = collective.all_gather(State(own, {"steps": len(predicted.steps)}).to_bytes())
    if collective.rank:
        return State({})
    ranks = [State.from_bytes(bytes(one)) for one in told]
    counts = [int(state.meta["steps"]) for state in ranks]
    places = [(step, rank) for rank, count in enumerate(counts) for step in range(count)]
    if predicted.is_dealt:
        places.sort()
    return State(
        {
            name: np.concatenate([ranks[rank].tensors[f"{step}.{name}"] for step, rank in places])
            for name in names
        }
    )
