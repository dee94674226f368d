"""Which workers are at work beside one."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.orca.worker.task import at_work
from zoo.orca.worker.task.at_work import AtWork

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform != "linux", reason="names of sockets without files"),
]


def test_workers_of_other_stages_count_until_they_end(tmp_path: Path) -> None:
    places = ((1, 0), (1, 1), (2, 0))
    first, neighbour, other = (AtWork(*place, f"{tmp_path}") for place in places)
    elsewhere = AtWork(3, 0, f"{tmp_path}/another executor")
    assert [one.others() for one in (first, neighbour, other, elsewhere)] == [1, 1, 2, 0]
    other.close()
    assert first.others() == 0
    for one in (first, neighbour, elsewhere):
        one.close()


def test_one_that_was_killed_does_not_count(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from zoo.orca.worker.task.at_work import AtWork\n"
        "mark = AtWork(7, 0, sys.argv[1])\n"
        "print('there', flush=True)\n"
        "time.sleep(50)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    here = AtWork(8, 0, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        assert here.others() == 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert here.others() == 0
    here.close()


def test_nothing_is_counted_where_there_are_no_such_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = AtWork(1, 0, str(tmp_path)), AtWork(2, 0, str(tmp_path))
    monkeypatch.setattr(at_work, "_BOUND", tmp_path / "missing")
    assert first.others() == 0
    for one in (first, other):
        one.close()
    monkeypatch.delattr(socket, "AF_UNIX")
    without = AtWork(1, 0, str(tmp_path))
    assert without.others() == 0
    without.close()
