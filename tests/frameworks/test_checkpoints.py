"""Checkpoints within epochs: whoever goes on from one ends as the unbroken run does."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.frameworks.bench import BATCH, columns
from tests.frameworks.ranks import Data, job_of, plugin_of, same_on_all
from tests.frameworks.test_order import in_sequence
from zoo.orca.wire.checkpoints import checkpoints_in
from zoo.orca.wire.job import TrainJob
from zoo.orca.worker.child.resume import Resumable
from zoo.orca.worker.plugin import World

pytestmark = pytest.mark.timeout(300)

#: 11 steps an epoch, with checkpoints after 3, 6 and 9.
ROWS, EPOCHS, EVERY = 203, 3, 3


@dataclass
class Ended:
    """A finished fit on one rank."""

    trained: Any
    history: dict[str, list[float]]
    progress: list[Any]

    def weights(self):
        return {n: v for n, v in self.trained.state.tensors.items() if n.startswith("weights/")}


def fit(bench: Any, workers: int, directory: Path, **fields: Any) -> Ended:
    """Train on some ranks, from the newest checkpoint in a directory."""
    data = in_sequence(columns(ROWS), workers, BATCH, features=("x", "u"))
    seen = Data(data.shards, data.spec)
    fields.setdefault("checkpoint_steps", EVERY)
    creator = fields.pop("creator", bench.family.embedding)
    job = job_of(
        TrainJob,
        creator,
        data.spec,
        framework=bench.family.framework,
        config=fields.pop("config", bench.config()),
        batch_size=BATCH,
        epochs=EPOCHS,
        validate=True,
        model_dir=str(directory),
        run="fit",
        **fields,
    )

    def on(rank: int) -> Any:
        rows, others = data.rows(rank, BATCH), seen.rows(rank, BATCH, shuffle=False)

        def run(collective: Any) -> Ended:
            progress: list[Any] = []
            world = World(collective=collective, report=progress.append)
            plugin = plugin_of(job)
            plugin.prepare(job, 1)
            resumable = Resumable(job, world)
            trained = resumable.train(plugin, rows, others)
            resumable.finish(trained)
            trained = replace(trained, state=trained.state())
            return Ended(trained, resumable.whole(trained.history), progress)

        return run

    ran = bench.ranks.run([on(rank) for rank in range(workers)])
    same_on_all(ran)
    return ran[0]


def test_who_goes_on_within_an_epoch_ends_as_the_unbroken_run(bench, tmp_path):
    whole = fit(bench, 2, tmp_path / "2")
    names = checkpoints_in(path.name for path in (tmp_path / "2" / "fit").iterdir())
    assert names == ["00000002-0000000006.state", "00000002-0000000009.state"]
    shutil.copytree(tmp_path / "2", tmp_path / "3")
    shutil.copytree(tmp_path / "2", tmp_path / "1")
    (tmp_path / "2" / "fit" / names[1]).unlink()
    again = fit(bench, 2, tmp_path / "2")
    for name, value in whole.weights().items():
        np.testing.assert_array_equal(again.weights()[name], value, err_msg=name)
    assert again.history == whole.history
    for workers in (1, 3):
        other = fit(bench, workers, tmp_path / str(workers))
        for name, value in whole.weights().items():
            np.testing.assert_allclose(other.weights()[name], value, rtol=1e-4, atol=1e-5)
        assert list(other.history) == list(whole.history)
        for name, values in whole.history.items():
            np.testing.assert_allclose(other.history[name], values, rtol=1e-4, err_msg=name)
