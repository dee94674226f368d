"""Files of rows: nobody else reads them, and an error says which directory has no room."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.worker.some_rows import batch_of, filled, spec_of, spool
from zoo.orca.errors import WorkerError
from zoo.orca.worker.rows.blocks import Blocks
from zoo.orca.worker.rows.dataset import open_rows
from zoo.orca.worker.rows.files import writing
from zoo.orca.worker.rows.spool import Spool

XV = spec_of(x="int32", v="float32")


@contextmanager
def mask(value: int) -> Iterator[None]:
    """The file mode creation mask of this process, until the end of the block."""
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process can grow beyond a size, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_of_rows_are_for_this_account_alone(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.orca.worker.rows.spool.BLOCK_BYTES", 8)
    batches = [batch_of(XV, [(1, 1.0), (2, 2.0)], origin=origin) for origin in (1, 0)]
    with mask(umask):
        done = spool(tmp_path, XV, batches)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        open_rows(done.train.file, filled(XV, done))  # writes the blocks anew, in their order
    modes |= {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert len(modes) == 8, modes
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("rows", [100, 1_000_000])
def test_rows_that_find_no_room_name_the_directory(tmp_path: Path, rows: int) -> None:
    values = [(1, 1.0)] * min(rows, 10_000)
    batch = batch_of(XV, values, places=range(len(values)))
    told = rf"(?s)rows cannot be written below {tmp_path}.*File too large.*MB are free.*"
    with files_end_at(64), pytest.raises(WorkerError, match=f"{told}spark.local.dir"):
        rows_of = Spool(str(tmp_path), XV, False)
        with writing(str(tmp_path)):
            for _ in range(rows // len(values)):
                rows_of.add(batch)
            rows_of.finish()


def test_rows_that_are_written_anew_name_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.orca.worker.rows.spool.BLOCK_BYTES", 8)
    batches = [batch_of(XV, [(1, 1.0)] * 100, origin=origin) for origin in (1, 0)]
    done = spool(tmp_path, XV, batches)
    with files_end_at(64), pytest.raises(WorkerError, match=f"written below {tmp_path}"):
        open_rows(done.train.file, filled(XV, done))


def test_the_order_of_blocks_names_the_directory(tmp_path: Path) -> None:
    blocks = Blocks()
    blocks.add(np.array([2, 1, 0], np.int32))
    with files_end_at(8), pytest.raises(WorkerError, match=f"written below {tmp_path}"):
        with writing(str(tmp_path)):
            blocks.save(str(tmp_path / "train"))


@pytest.mark.parametrize(
    ("code", "way"),
    [
        (errno.ENOSPC, "a disk with more room"),
        (errno.EDQUOT, "a disk with more room"),
        (errno.EROFS, "one that the workers' account may write to"),
        (errno.EACCES, "one that the workers' account may write to"),
    ],
)
def test_an_error_says_what_the_directory_lacks(tmp_path: Path, code: int, way: str) -> None:
    with pytest.raises(WorkerError) as caught, writing(str(tmp_path)):
        raise OSError(code, "as pyarrow tells it")
    first, second = str(caught.value).split("\n")
    assert str(tmp_path) in first and os.strerror(code) in first
    assert "spark.local.dir" in second and way in second
