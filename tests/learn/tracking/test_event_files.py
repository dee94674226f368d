"""Files of events: what TensorBoard itself reads out of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.orca.errors import InvalidInputError
from zoo.orca.learn.tracking.event_files import EventFile


def scalars(directory: Path | str, tag: str) -> list[tuple[int, float, float]]:
    """Step, value and time of each point that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory))
    found.Reload()
    return [(one.step, one.value, one.wall_time) for one in found.Scalars(tag)]


def test_tensorboard_reads_what_was_written(tmp_path):
    written = EventFile(str(tmp_path / "app" / "train"))
    written.add(1, {"loss": 0.5, "a/b": 2.0}, 1000.25)
    assert scalars(tmp_path / "app" / "train", "loss") == [(1, 0.5, 1000.25)]  # at once
    written.add(2, {"loss": 0.25}, 1001.5)
    assert scalars(tmp_path / "app" / "train", "loss") == [(1, 0.5, 1000.25), (2, 0.25, 1001.5)]
    assert scalars(tmp_path / "app" / "train", "a/b") == [(1, 2.0, 1000.25)]
    assert len(list((tmp_path / "app" / "train").iterdir())) == 1


def test_a_fit_that_begins_at_an_earlier_step_replaces_what_was_after_it(tmp_path):
    first = EventFile(str(tmp_path))
    for step in (1, 2, 3):
        first.add(step, {"loss": float(step)}, float(step))
    again = EventFile(str(tmp_path))
    again.add(2, {"loss": 0.5}, 4.0)
    assert scalars(tmp_path, "loss") == [(1, 1.0, 1.0), (2, 0.5, 4.0)]


def test_a_url_gets_whole_files(tmp_path):
    import fsspec

    url = "memory://events/app/train"
    written = EventFile(url)
    written.add(1, {"loss": 0.5}, 1.0)
    written.add(2, {"loss": 0.25}, 2.0)
    memory = fsspec.filesystem("memory")
    (name,) = memory.ls("/events/app/train", detail=False)
    (tmp_path / "events.out.tfevents.1").write_bytes(memory.cat(name))
    assert scalars(tmp_path, "loss") == [(1, 0.5, 1.0), (2, 0.25, 2.0)]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="file"):
        EventFile(str(tmp_path / "file" / "train")).add(1, {"loss": 1.0}, 1.0)


def test_writing_imports_no_tensorflow(tmp_path):
    program = (
        "import sys\n"
        "from zoo.orca.learn.tracking.event_files import EventFile\n"
        f"EventFile({str(tmp_path)!r}).add(1, {{'loss': 1.0}}, 1.0)\n"
        "print('tensorflow' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    assert answer.stdout == "False\n"
