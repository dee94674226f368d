"""Predictions of a creator's batches: all of them, in order, on any number of workers."""

from dataclasses import replace

import numpy as np
import pytest

from tests.frameworks.bench import Bench
from tests.frameworks.creators.created import BATCH, NOTHING, all_rows, batch, created, cut
from tests.frameworks.ranks import job_of, plugin_of
from zoo.orca.wire.job import PredictCreatedJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.gathering import predict_created
from zoo.orca.worker.plugin import World

pytestmark = pytest.mark.timeout(300)

ROWS = 50


def predict(bench: Bench, data, workers: int) -> np.ndarray:
    """The predictions that rank 0 has, of the model as its creator makes it."""
    family = bench.family
    job = job_of(
        PredictCreatedJob,
        family.embedding,
        NOTHING,
        framework=family.framework,
        config=bench.config(),
        batch_size=BATCH,
    )
    job = replace(job, creator=created(data).creator)

    def run(collective):
        plugin = plugin_of(job)
        plugin.prepare(job, 1)
        world = World(collective=collective, report=lambda progress: None)
        return predict_created(plugin, job, world, lambda function: None).state

    state, *others = bench.ranks.run([run] * workers)
    assert not any(others)
    (found,) = State.from_bytes(state).tensors.values()
    return found.reshape(len(found))


def dealt(framework):
    def creator(config, batch_size):
        from torch.utils.data import DataLoader

        items = [batch(framework, cut(all_rows(ROWS), k, k + 1))[0] for k in range(ROWS)]
        return DataLoader([((x[0], u[0]),) for x, u in items], batch_size=batch_size)

    return creator


def own(framework):
    def creator(config, batch_size):
        rank, size = config["rank"], config["size"]
        low, high = rank * ROWS // size, (rank + 1) * ROWS // size
        for start in range(low, high, 7):
            rows = cut(all_rows(ROWS), start, min(start + 7, high))
            yield (batch(framework, rows)[0],)

    return creator


def test_rows_are_in_order(bench: Bench) -> None:
    framework = bench.family.framework

    def flat(creator):
        # For PyTorch, every member of a batch is an input.
        if framework != "torch":
            return creator
        return lambda config, batch_size: [one[0] for one in creator(config, batch_size)]

    alone = predict(bench, flat(own(framework)), 1)
    assert len(alone) == ROWS and len(set(alone.tolist())) > ROWS // 2
    several = predict(bench, flat(own(framework)), 3)
    np.testing.assert_allclose(several, alone, rtol=1e-5, atol=1e-6)
    if framework != "torch":
        found = predict(bench, dealt(framework), 2)
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
