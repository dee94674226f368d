"""What a task leaves behind when its child fails: nothing, whatever comes next."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.orca.errors import WorkerDiedError
from zoo.orca.worker.task import barrier_task
from zoo.orca.worker.task.barrier_task import _Task

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("error", [WorkerDiedError("it died"), MemoryError(), KeyError("rows")])
def test_rows_are_removed_before_the_child_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    spool = tmp_path / "orca-rows"
    seen: list[bool] = []
    child = SimpleNamespace(log=(), kill=lambda: seen.append(spool.exists()))

    def converse(self: Any, child: Any, batches: Any) -> None:
        self._directory = str(spool)
        spool.mkdir()
        (spool / "train").touch()
        raise error

    monkeypatch.setattr(_Task, "_converse", converse)
    monkeypatch.setattr(_Task, "_acquired", lambda self: child)
    task = object.__new__(_Task)
    for name, value in {
        "_places": ["host:1"],
        "_rank": 0,
        "_host": "host",
        "_directory": "",
        "_job": SimpleNamespace(noise=()),
        "_options": SimpleNamespace(workers=1, log_to_driver=False),
        "_reporter": SimpleNamespace(send=None),
    }.items():
        setattr(task, name, value)
    expected = KeyError if isinstance(error, KeyError) else barrier_task._ChildFailed
    with pytest.raises(expected):
        task._run_child(iter(()))
    # A child that is killed removes nothing any more, and this process may be next.
    assert seen == [False]
