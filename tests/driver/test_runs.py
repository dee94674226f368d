"""The directories of fits: whose they are, and which one a later fit goes on with."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zoo.orca.driver import runs
from zoo.orca.driver.runs import FitRecord
from zoo.orca.errors import InvalidInputError

RECORD = FitRecord(
    model="m", columns="{}", batch_size=8, seed=0, initial_epoch=0, steps_per_epoch=None
)


def left(root: Path, name: str, newest: str, record: FitRecord = RECORD) -> None:
    """The directory of a fit whose process has ended."""
    root.joinpath(name).mkdir()
    runs.begin(str(root / name), record)
    if newest:
        (root / name / f"{newest}.state").write_bytes(b"")
        assert runs.release(str(root / name), record) == f"{newest}.state"


def test_the_fit_that_came_furthest_goes_on(tmp_path: Path) -> None:
    assert runs.unfinished(str(tmp_path), RECORD) == ""
    left(tmp_path, "fit-b", "00000001-0000000004")
    left(tmp_path, "fit-a", "00000001-0000000010")
    left(tmp_path, "fit-c", "00000000-0000000099")
    (tmp_path / "fit-z").mkdir()  # of a user
    (tmp_path / "fit-y").mkdir()
    (tmp_path / "fit-y" / "fit.json").write_text("[1]")
    assert runs.unfinished(f"{tmp_path}/", RECORD) == "fit-a"


def test_a_fit_without_checkpoints_leaves_nothing(tmp_path: Path) -> None:
    left(tmp_path, "fit-a", "")
    assert runs.release(str(tmp_path / "fit-a"), RECORD) == ""
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_worker_was_writing_is_not_left(tmp_path: Path) -> None:
    runs.begin(str(tmp_path / "fit-a"), RECORD)
    for name in ("00000001-0000000004.state", "00000001-0000000006.state.partial", "rank-1"):
        (tmp_path / "fit-a" / name).write_bytes(b"")
    assert runs.release(str(tmp_path / "fit-a"), RECORD) == "00000001-0000000004.state"
    names = sorted(path.name for path in (tmp_path / "fit-a").iterdir())
    assert names == ["00000001-0000000004.state", "fit.json"]


def test_a_directory_keeps_its_record_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path, "fit-a", "00000001-0000000004")

    def killed(directory: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "remove_directory", killed)
    with pytest.raises(KeyboardInterrupt):
        runs.remove(str(tmp_path / "fit-a"))
    assert [path.name for path in (tmp_path / "fit-a").iterdir()] == ["fit.json"]


@pytest.mark.parametrize(
    ("owner", "stays"),
    [({}, False), ({"host": "node7"}, True), ({"pid": os.getpid()}, True)],
    ids=["killed here", "of another host", "alive"],
)
def test_what_was_killed_before_its_first_checkpoint_is_removed(
    tmp_path: Path, owner: dict[str, object], stays: bool
) -> None:
    runs.begin(str(tmp_path / "fit-a"), RECORD)
    file = tmp_path / "fit-a" / "fit.json"
    told = json.loads(file.read_text())
    if "pid" not in owner:
        told["owner"] |= {"pid": 1, **owner}
    file.write_text(json.dumps(told))
    assert runs.unfinished(str(tmp_path), RECORD) == ""
    assert file.exists() == stays


def test_a_fit_that_runs_is_left_alone(tmp_path: Path) -> None:
    left(tmp_path, "fit-a", "00000001-0000000004")
    runs.begin(str(tmp_path / "fit-a"), RECORD)
    assert runs.unfinished(str(tmp_path), RECORD) == ""


def test_a_fit_of_a_process_that_has_ended_goes_on(tmp_path: Path) -> None:
    left(tmp_path, "fit-a", "00000001-0000000004")
    program = (
        "import sys; from tests.driver.test_runs import RECORD, runs; "
        "runs.begin(sys.argv[1], RECORD)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "fit-a")], check=True, timeout=60)
    assert runs.unfinished(str(tmp_path), RECORD) == "fit-a"
    told = json.loads((tmp_path / "fit-a" / "fit.json").read_text())
    # The same number may be another process by now.
    told["owner"] |= {"pid": 1}
    (tmp_path / "fit-a" / "fit.json").write_text(json.dumps(told))
    assert runs.unfinished(str(tmp_path), RECORD) == "fit-a"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("batch_size", 16, "has batch_size=16, and this one 8\n"),
        ("steps_per_epoch", 5, "has steps_per_epoch=5, and this one None\n"),
        ("model", "other", "is of another model\n"),
        ("columns", "[]", "is of another set of columns\n"),
    ],
)
def test_another_fit_is_no_silent_new_beginning(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    left(tmp_path, "fit-a", "00000001-0000000004", replace(RECORD, **{field: value}))
    with pytest.raises(InvalidInputError) as caught:
        runs.unfinished(str(tmp_path), RECORD)
    assert f"resume=True: the unfinished fit in {tmp_path}/fit-a {said}" in str(caught.value)
    assert "Call fit as the one that was ended, or leave resume out" in str(caught.value)
    left(tmp_path, "fit-b", "00000000-0000000001")
    assert runs.unfinished(str(tmp_path), RECORD) == "fit-b"


def test_runs_of_ones_own_are_no_fits(tmp_path: Path) -> None:
    record = replace(RECORD, kind=runs.RUN)
    left(tmp_path, "fit-a", "00000001-0000000004")
    assert runs.unfinished(str(tmp_path), record) == ""
    left(tmp_path, "run-a", "00000002-0000000000", record)
    assert runs.unfinished(str(tmp_path), record) == "run-a"
    assert runs.unfinished(str(tmp_path), RECORD) == "fit-a"
    assert runs.new_run(runs.RUN).startswith("run-") and runs.new_run().startswith("fit-")
    with pytest.raises(InvalidInputError) as caught:
        runs.unfinished(str(tmp_path), replace(record, model="other"))
    assert f"the unfinished run in {tmp_path}/run-a is of another function, or of other" in str(
        caught.value
    )


def test_a_record_from_before_there_were_other_calls_is_a_fits(tmp_path: Path) -> None:
    left(tmp_path, "fit-a", "00000001-0000000004")
    told = json.loads((tmp_path / "fit-a" / "fit.json").read_text())
    del told["fit"]["kind"]
    (tmp_path / "fit-a" / "fit.json").write_text(json.dumps(told))
    assert runs.unfinished(str(tmp_path), RECORD) == "fit-a"
