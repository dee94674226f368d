"""Small batches on any number of workers: the same rows in each step, the same training."""

from dataclasses import dataclass

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, columns
from tests.frameworks.ranks import SEED, Data, same_on_all
from zoo.orca.wire.plans.canonical import CanonicalPlan, shard_sizes

pytestmark = pytest.mark.timeout(300)

ROWS, EPOCHS = 203, 18


@dataclass
class Dealt(Data):
    """Rows that were dealt to shards."""

    def plan(self, batch_size, *, shuffle=True):
        counts = [len(next(iter(shard.values()))) for shard in self.shards]
        return CanonicalPlan(
            rows=sum(counts),
            workers=len(counts),
            batch_size=batch_size,
            seed=SEED,
            shuffle=shuffle,
        )


def dealt(workers, **roles):
    """The same rows in the same shards, for some number of workers."""
    found = columns(ROWS)
    shards = np.split(np.arange(ROWS), np.cumsum(shard_sizes(ROWS, BATCH))[:-1])
    parts = [np.concatenate(shards[rank::workers]) for rank in range(workers)]
    rows = np.concatenate(parts)
    counts = [len(part) for part in parts]
    cut = Data.of({name: v[rows] for name, v in found.items()}, counts, **roles)
    return Dealt(cut.shards, cut.spec)


def test_two_hundred_steps_are_the_same_on_any_number_of_workers(bench):
    found = []
    for workers in (1, 2, 3):
        data = dealt(workers, features=("x", "u"))
        seen = Data(data.shards, data.spec)
        ran = bench.train(bench.family.embedding, data, validation=seen, epochs=EPOCHS)
        same_on_all(ran)
        found.append(ran[0])
    alone, *others = found
    for one in others:
        for name, value in alone.weights().items():
            np.testing.assert_allclose(one.weights()[name], value, rtol=1e-4, atol=1e-4)
        for name, values in alone.trained.history.items():
            np.testing.assert_allclose(one.trained.history[name], values, rtol=1e-4)


def test_another_number_of_workers_goes_on_in_mid_pass(bench):
    fields = {"steps_per_epoch": 7}
    whole = bench.train(bench.family.embedding, dealt(1, features=("x", "u")), epochs=4, **fields)[
        0
    ].trained
    begun = bench.train(bench.family.embedding, dealt(2, features=("x", "u")), epochs=1, **fields)[
        0
    ].trained
    rest = bench.train(
        bench.family.embedding,
        dealt(3, features=("x", "u")),
        epochs=3,
        initial_epoch=1,
        state=begun.state,
        **fields,
    )[0].trained
    for name, value in whole.state.tensors.items():
        if name.startswith("weights/"):
            np.testing.assert_allclose(rest.state.tensors[name], value, rtol=1e-4, atol=1e-4)
