"""A disk without room for the rows: one error that names it, and more room is the way out."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.faults.table import came_out
from zoo.orca.errors import WorkerError

pytestmark = pytest.mark.timeout(120)

LIMIT_SECONDS = 15.0


def mount(*arguments: str) -> None:
    """Run `mount`, or skip the test where this machine does not let us."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(spark: SparkSession) -> Iterator[Path]:
    """A disk of one megabyte where Spark has its temporary files."""
    (place,) = Path(spark.conf.get("spark.local.dir") or "").glob("blockmgr-*")
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    for number in range(64):  # those that Spark has made before are out of sight
        (place / f"{number:02x}").mkdir()
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.fault("the disk of Spark's temporary files is full")
def test_a_full_disk_is_named_and_a_larger_one_will_do(
    spark: SparkSession, small_disk: Path
) -> None:
    rows = spark.range(0, 1_000_000, 1, 2).select(F.rand(1).alias("x"), F.rand(2).alias("y"))
    estimator = FakeEstimator.of(linear(), 2)
    begin = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        estimator.fit(rows, batch_size=10_000)
    seconds = time.monotonic() - begin
    came_out(caught.value, seconds)
    assert seconds < LIMIT_SECONDS
    first, second, *_ = str(caught.value).split("\n")
    assert f"rank {caught.value.rank} on {caught.value.host}: rows cannot be written" in first
    assert f"below {small_disk}" in first and "No space left on device" in first
    assert "a disk with more room" in second
    assert not list(small_disk.glob("orca-*"))
    mount("-o", "remount,size=64m", str(small_disk))
    assert estimator.fit(rows, batch_size=10_000)["train_loss"] > 0


@pytest.mark.fault("the disk of Spark's temporary files cannot be written")
def test_a_disk_that_is_only_read_is_named(spark: SparkSession, small_disk: Path) -> None:
    mount("-o", "remount,ro", str(small_disk))
    # Of three partitions, so that Spark itself must write there: workers find another directory.
    rows = spark.range(0, 1000, 1, 3).select(F.rand(1).alias("x"), F.rand(2).alias("y"))
    estimator = FakeEstimator.of(linear(), 2)
    with pytest.raises(WorkerError) as caught:
        estimator.fit(rows)
    came_out(caught.value)
    first, second = str(caught.value).split("\n")
    assert str(small_disk) in first and "Read-only file system" in first
    assert "spark.local.dir" in second
    mount("-o", "remount,rw", str(small_disk))
    assert estimator.fit(rows)["train_loss"] > 0
