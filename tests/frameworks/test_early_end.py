"""A fit that the driver ends after an epoch is the fit of so many epochs, in every framework."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, Bench, columns
from tests.frameworks.ranks import Data, job_of, plugin_of, same_on_all
from tests.frameworks.test_checkpoints import Ended
from zoo.orca.wire.job import TrainJob
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.plugin import World

pytestmark = pytest.mark.timeout(300)

#: 4 steps an epoch, the last one smaller.
ROWS, SHARDS = 70, {1: [70], 2: [37, 33]}


class After:
    """A driver that lets a training end after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def check(self) -> None:
        """It answers."""

    def __call__(self, record: Any) -> bool:
        return record.epoch == self.epochs


def fit(bench: Bench, workers: int, epochs: int, stop_after: int = 0, **fields: Any) -> Ended:
    """Train on some ranks; rank 0 asks if the training may end early."""
    data = Data.of(columns(ROWS), SHARDS[workers], features=("x", "u"))
    job = job_of(
        TrainJob,
        bench.family.embedding,
        data.spec,
        framework=bench.family.framework,
        config=bench.config(),
        batch_size=20,
        epochs=epochs,
        validate=True,
        **fields,
    )

    def on(rank: int) -> Any:
        rows, seen = data.rows(rank, BATCH), data.rows(rank, BATCH, shuffle=False)

        def run(collective: Any) -> Ended:
            progress: list[Any] = []
            plugin = plugin_of(job)
            plugin.prepare(job, 1)
            ask = After(stop_after) if stop_after else None
            fit = Resumable(job, World(collective=collective, report=progress.append), ask)
            trained = plugin.train(fit.job, rows, seen, fit.world)
            trained = replace(trained, state=trained.state())
            fit.finish(lambda: trained.state)
            assert fit.whole(trained.history) == trained.history
            return Ended(trained, fit.epochs, progress)

        return run

    ran = bench.ranks.run([on(rank) for rank in range(workers)])
    same_on_all(ran)
    assert [one.history for one in ran] == [ran[0].history] * workers
    return ran[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_fit_that_ends_early_is_the_fit_of_so_many_epochs(bench: Bench, workers: int) -> None:
    ended, short = fit(bench, workers, 5, stop_after=2), fit(bench, workers, 2)
    assert ended.trained.history == short.trained.history
    assert ended.trained.state.meta == short.trained.state.meta
    assert list(ended.trained.state.tensors) == list(short.trained.state.tensors)
    for name, value in short.trained.state.tensors.items():
        np.testing.assert_array_equal(ended.trained.state.tensors[name], value, err_msg=name)
    assert ended.history == short.history == _by_epoch(short.trained.history)


def test_epochs_have_what_the_history_has_of_them(bench: Bench) -> None:
    if bench.family.framework == "torch":
        pytest.skip("it validates after every epoch")
    ended = fit(bench, 2, 3, validation_freq=2)
    assert len(ended.trained.history["val_loss"]) == 1
    assert ["val_loss" in logs for logs in ended.history] == [False, True, False]
    for name, values in ended.trained.history.items():
        assert [logs[name] for logs in ended.history if name in logs] == values


def _by_epoch(history: dict[str, list[float]]) -> list[dict[str, float]]:
    count = len(history["loss"])
    return [{name: values[k] for name, values in history.items()} for k in range(count)]
