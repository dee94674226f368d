"""A fit that ends early, by the driver or a callback, has so many epochs, in every framework."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, Bench, columns
from tests.frameworks.ranks import Data, job_of, plugin_of, same_on_all
from tests.frameworks.test_checkpoints import Ended
from zoo.orca.wire.checkpoints import checkpoints_in
from zoo.orca.wire.job import TrainJob
from zoo.orca.wire.messages.progress import EpochBegan
from zoo.orca.wire.packing import pack
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


def fit(
    bench: Bench,
    workers: int,
    epochs: int,
    stop_after: int = 0,
    is_patient: bool = False,
    **fields: Any,
) -> Ended:
    """Train on some ranks; rank 0 asks, or a callback looks, if the training may end early."""
    data = Data.of(columns(ROWS), SHARDS[workers], features=("x", "u"))
    job = job_of(
        TrainJob,
        bench.family.embedding,
        data.spec,
        framework=bench.family.framework,
        config=fields.pop("config", bench.config()),
        batch_size=20,
        epochs=epochs,
        validate=True,
        **fields,
    )

    patient = bench.family.patient

    def on(rank: int) -> Any:
        rows, seen = data.rows(rank, BATCH), data.rows(rank, BATCH, shuffle=False)

        def run(collective: Any) -> Ended:
            progress: list[Any] = []
            plugin = plugin_of(job)
            plugin.prepare(job, 1)
            ask = After(stop_after) if stop_after else None
            own = replace(job, callbacks=pack([patient()], "callbacks")) if is_patient else job
            fit = Resumable(own, World(collective=collective, report=progress.append), ask)
            trained = fit.train(plugin, rows, seen)
            fit.finish(trained)
            whole = fit.whole(trained.history)
            trained = replace(trained, state=trained.state(), history=whole)
            return Ended(trained, fit.epochs, progress)

        return run

    ran = bench.ranks.run([on(rank) for rank in range(workers)])
    same_on_all(ran)
    assert [one.history for one in ran] == [ran[0].history] * workers
    return ran[0]


def test_a_fit_that_ends_early_is_the_fit_of_so_many_epochs(bench: Bench) -> None:
    ended, short = fit(bench, 1, 5, stop_after=2), fit(bench, 1, 2)
    same(ended, short)
    assert short.history == _by_epoch(short.trained.history)


def test_whoever_goes_on_with_what_ends_early_ends_where_it_did(
    bench: Bench, tmp_path: Path
) -> None:
    """All workers run again where one is lost, even after the end and before the result is safe."""
    config = bench.config()
    if bench.family.framework != "torch":  # averages go into the model at the end, and once
        config = bench.config(("Adam", {"use_ema": True, "ema_momentum": 0.5}))
    given: dict[str, Any] = {"is_patient": True, "config": config}
    ended = fit(bench, 2, 9, **given, **kept(tmp_path, "whole"))
    assert len(ended.history) == 3
    # Within the third epoch, which ends it; callbacks go on with what they had counted.
    assert newest_lost(tmp_path / "whole") == "00000002-0000000003.state"
    same(fit(bench, 2, 9, **given, **kept(tmp_path, "whole")), ended)
    # Within the second one, where the driver's word is not the last one any more.
    short = fit(bench, 2, 9, stop_after=2, **given, **kept(tmp_path, "short"))
    assert short.history == ended.history[:2]
    assert newest_lost(tmp_path / "short") == "00000001-0000000003.state"
    same(fit(bench, 2, 9, **given, **kept(tmp_path, "short")), ended)
    # And after the end.
    again = fit(bench, 2, 9, **kept(tmp_path, "short"))
    same(again, ended)
    assert not any(isinstance(one, EpochBegan) for one in again.progress)


def kept(directory: Path, name: str) -> dict[str, Any]:
    """Where checkpoints are: after each epoch, and after three of its four steps."""
    return {"model_dir": str(directory), "run": name, "checkpoint_steps": 3}


def newest_lost(directory: Path) -> str:
    """Remove the newest checkpoint; return the name of the one before."""
    *_, before, newest = checkpoints_in(path.name for path in directory.iterdir())
    (directory / newest).unlink()
    return before


def same(ours: Ended, theirs: Ended) -> None:
    """Both have the same numbers, to the last bit."""
    assert ours.trained.history == theirs.trained.history
    assert ours.trained.state.meta == theirs.trained.state.meta
    assert list(ours.trained.state.tensors) == list(theirs.trained.state.tensors)
    for name, value in theirs.trained.state.tensors.items():
        np.testing.assert_array_equal(ours.trained.state.tensors[name], value, err_msg=name)
    assert ours.history == theirs.history


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
