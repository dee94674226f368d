"""Temporary files go with the child that made them, however it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from zoo.orca.worker import temporary
from zoo.orca.worker.task.child_process import Child

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def spark_directory(monkeypatch, tmp_path):
    """Where Spark's local directory is, with a short name."""
    with tempfile.TemporaryDirectory(prefix="o") as directory:
        monkeypatch.setenv("SPARK_LOCAL_DIRS", directory)
        yield Path(directory)


def test_a_directory_lies_where_spark_says(spark_directory):
    path = Path(temporary.make_directory())
    assert path.parent == spark_directory
    assert path.stat().st_mode & 0o777 == 0o700
    temporary.remove_directory(str(path))
    temporary.remove_directory(str(path))
    assert not path.exists()


def test_sockets_of_multiprocessing_have_a_name_that_is_short_enough(monkeypatch, tmp_path):
    deep = tmp_path / ("application_1234567890123_0001/blockmgr-" + "a" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(deep))
    path = temporary.make_directory()
    try:
        assert Path(path).parent == Path(tempfile.gettempdir())
    finally:
        temporary.remove_directory(path)
    assert not list(deep.iterdir())


def test_files_of_a_job_go_and_directories_stay(tmp_path):
    (tmp_path / "left").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "compiled").write_text("x")
    temporary.remove_files(str(tmp_path))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cache", "compiled"]
    temporary.remove_files(str(tmp_path / "gone"))
    temporary.remove_files("")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_childs_directory_goes_with_it(spark_directory, end):
    child = Child({})
    assert [path.name[:10] for path in spark_directory.iterdir()] == ["orcachild-"]
    environment = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    own = next(spark_directory.iterdir())
    assert f"TMPDIR={own}".encode() in environment
    (own / "deep").mkdir()
    (own / "deep" / "file").write_text("x")
    getattr(child, end)()
    assert not list(spark_directory.iterdir())


def test_an_orphans_directory_goes_with_it(spark_directory):
    """Spark kills the Python worker, which then cleans up nothing; its child does."""
    program = (
        "from zoo.orca.worker.task.child_process import Child\n"
        "import sys, time\n"
        "child = Child({})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        own = next(spark_directory.iterdir())
        (own / "left").write_text("x")
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while own.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(spark_directory.iterdir())
    while os.path.exists(f"/proc/{orphan}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{orphan}")
