"""The limit on an Arrow batch's bytes is lifted only where it cannot be reached, and comes back."""

import threading
import time

import pytest
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.batches import uncounted_batches

pytestmark = pytest.mark.timeout(120)

BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
LIFTED = str((1 << 31) - 1)


@pytest.fixture
def limit(spark):
    """What the session says outside of any stage."""
    value = spark.conf.get(BYTES)
    yield value
    assert spark.conf.get(BYTES) == value
    spark.conf.unset(BYTES)
    spark.conf.unset(ROWS)


def inside(spark, frame):
    with uncounted_batches(frame):
        return spark.conf.get(BYTES)


def test_rows_of_numbers_need_no_limit(spark, limit):
    frame = spark.range(3).select("id", F.lit(1.5).alias("x"), F.lit(True).alias("b"))
    assert limit != LIFTED
    assert inside(spark, frame) == LIFTED


@pytest.mark.parametrize("column", ["array(id)", "string(id)", "binary(string(id))"])
def test_rows_of_unknown_width_keep_it(spark, limit, column):
    assert inside(spark, spark.range(3).selectExpr("id", column)) == limit


def test_a_limit_within_reach_stays(spark):
    frame = spark.range(3)
    spark.conf.set(BYTES, "1m")
    try:
        assert inside(spark, frame) == LIFTED  # 10,000 rows of one number are 90,000 bytes
        spark.conf.set(ROWS, "1000000")
        assert inside(spark, frame) == "1m"
        spark.conf.set(ROWS, "0")
        assert inside(spark, frame) == "1m"
    finally:
        spark.conf.unset(BYTES)
        spark.conf.unset(ROWS)


def test_it_comes_back_once_and_also_after_an_error(spark, limit):
    frame = spark.range(3)
    with pytest.raises(ZeroDivisionError), uncounted_batches(frame) as restore:
        restore()
        assert spark.conf.get(BYTES) == limit
        restore()
        raise ZeroDivisionError


def test_of_two_stages_the_first_gives_it_back(spark, limit):
    with uncounted_batches(spark.range(3)):
        assert inside(spark, spark.range(4)) == LIFTED
        assert spark.conf.get(BYTES) == LIFTED


def test_a_session_that_may_not_be_changed_is_left_alone(spark, limit, monkeypatch):
    from pyspark.errors import AnalysisException

    def refuse(self, key, value):
        raise AnalysisException("no")

    with monkeypatch.context() as patch:
        patch.setattr(type(spark.conf), "set", refuse)
        assert inside(spark, spark.range(3)) == limit


def test_a_query_beside_a_fit_finds_its_limit(spark, limit, tmp_path):
    seen = tmp_path / "seen"

    def wait(rank, step):
        deadline = time.monotonic() + 30
        while not seen.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def watch():
        deadline = time.monotonic() + 30
        while spark.conf.get(BYTES) == limit and time.monotonic() < deadline:
            time.sleep(0.002)
        lifted = spark.conf.get(BYTES)
        while spark.conf.get(BYTES) != limit and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.write_text(f"{lifted} {spark.conf.get(BYTES)}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    df = spark.range(8).selectExpr("cast(id as double) x", "cast(id as double) y")
    FakeEstimator.of(linear(1, on_step=wait), workers=2).fit(df)
    watcher.join()
    assert seen.read_text().split() == [LIFTED, limit]
