"""The newest checkpoint, by the names that workers give them."""

from pathlib import Path

import numpy as np
import pytest

from zoo.orca.driver.elastic import checkpoints
from zoo.orca.driver.elastic.checkpoints import epochs_saved
from zoo.orca.wire.checkpoints import Checkpoint
from zoo.orca.wire.packing import State
from zoo.orca.worker.child.checkpoint import Checkpoints


def test_the_workers_checkpoints_are_found(tmp_path: Path) -> None:
    directory = str(tmp_path / "fit-1")
    assert epochs_saved("") == epochs_saved(directory) == -1
    kept = Checkpoints(directory)
    for epoch in (1, 2, 12):
        kept.save(Checkpoint(state=State({"w": np.zeros(1)}, {"epoch": epoch}), history={}))
        kept.finish()
        assert epochs_saved(directory) == epoch
    kept.keep(State({"w": np.zeros(1)}, {"epoch": 13}))  # the final state is no checkpoint
    for name in ("00000099-0000000000.state.partial", "notes.txt", "x99.state"):
        (tmp_path / "fit-1" / name).touch()
    assert epochs_saved(directory) == 12


def test_one_within_an_epoch_counts_the_epochs_that_are_done(tmp_path: Path) -> None:
    (tmp_path / "00000003-0000000120.state").touch()
    assert epochs_saved(str(tmp_path)) == 3


def test_a_file_system_that_does_not_answer_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(directory: str) -> list[str]:
        raise OSError("no answer")

    monkeypatch.setattr(checkpoints, "list_names", silent)
    assert epochs_saved("/somewhere") == -1
