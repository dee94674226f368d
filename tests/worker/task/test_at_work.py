"""Which workers are at work beside one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from zoo.orca.worker.task.at_work import AtWork


def test_workers_of_other_stages_count_until_they_end(tmp_path: Path) -> None:
    first, neighbour, other = (
        AtWork(stage, rank, tmp_path) for stage, rank in ((1, 0), (1, 1), (2, 0))
    )
    assert [one.others() for one in (first, neighbour, other)] == [1, 1, 2]
    other.close()
    assert first.others() == 0
    first.close()
    neighbour.close()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_does_not_count(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from zoo.orca.worker.task.at_work import AtWork\n"
        "mark = AtWork(7, 0, pathlib.Path(sys.argv[1]))\n"
        "print('there', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        here = AtWork(8, 0, tmp_path)
        assert here.others() == 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert here.others() == 0
    here.close()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_takes_no_mark_does_no_harm(tmp_path: Path) -> None:
    mark = AtWork(1, 0, tmp_path / "missing")
    assert mark.others() == 0
    mark.close()
