"""The limit on an Arrow batch's bytes is lifted where it cannot be reached, and else low."""

import itertools
import threading
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver.frame.arrow_batches import quick_batches

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("by_value")]

BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
LIFTED = str((1 << 31) - 1)
LOW = str(4 << 20)


@pytest.fixture(autouse=True)
def _the_session_stays_as_it_is(spark):
    before = spark.conf.get(BYTES)
    yield
    assert spark.conf.get(BYTES) == before
    assert spark.sparkContext.getLocalProperty(BYTES) is None


def tell(batches):
    """Return the limit that a task of Spark's goes by."""
    from pyspark import TaskContext

    for _ in batches:
        continue
    limit = TaskContext.get().getLocalProperty("spark.sql.execution.arrow.maxBytesPerBatch")
    yield pa.RecordBatch.from_pydict({"limit": [limit]})


def told(frame):
    """Return the limit in the task of a job over a frame; None for the session's own default."""
    task = frame.coalesce(1).mapInArrow(tell, "limit string")
    (row,) = task.repartition(1).toArrow().to_pylist()  # as a stage of Orca's ends on a cluster
    return row["limit"]


def mine(frame):
    """Return what the jobs that this thread starts go by; `told` has that it is so."""
    return frame.sparkSession.sparkContext.getLocalProperty(BYTES)


def inside(frame):
    with quick_batches(frame):
        return mine(frame)


def test_rows_of_numbers_need_no_limit(spark):
    frame = spark.range(3).select("id", F.lit(1.5).alias("x"), F.lit(True).alias("b"))
    with quick_batches(frame):
        assert told(frame) == mine(frame) == LIFTED
    assert told(frame) is None


@pytest.mark.parametrize("column", ["array(id)", "string(id)", "binary(string(id))"])
def test_rows_of_unknown_width_have_a_low_one(spark, column):
    assert inside(spark.range(3).selectExpr("id", column)) == LOW


@pytest.mark.parametrize("rows", ["1000000", "0"])
def test_a_limit_within_reach_is_low(spark, rows):
    spark.conf.set(ROWS, rows)
    try:
        assert inside(spark.range(3).selectExpr(*(f"id AS c{n}" for n in range(8)))) == LOW
    finally:
        spark.conf.unset(ROWS)


def test_what_the_user_has_set_stays(spark):
    spark.conf.set(BYTES, "1m")
    try:
        with quick_batches(spark.range(3)):
            assert told(spark.range(3)) == "1m"
    finally:
        spark.conf.unset(BYTES)


def test_a_function_of_the_users_in_the_same_query_keeps_it(spark):
    frame = spark.range(3).mapInArrow(lambda batches: batches, "id long")
    assert inside(frame) is None
    kept = frame.cache()
    assert kept.count() == 3
    assert inside(kept.select("id")) == LIFTED  # it has run already
    kept.unpersist()


def test_it_comes_back_after_an_error(spark):
    with pytest.raises(ZeroDivisionError), quick_batches(spark.range(3)):
        raise ZeroDivisionError


def test_stages_within_each_other_end_one_by_one(spark):
    frame = spark.range(3)
    with quick_batches(frame):
        assert inside(frame) == LIFTED
        assert mine(frame) == LIFTED


class Stage(threading.Thread):
    """A thread that is within a stage of its own from `begin` to `end`."""

    def __init__(self, frame):
        super().__init__()
        self._frame = frame
        self.began, self.ends = threading.Event(), threading.Event()
        self.seen = []

    def run(self):
        with quick_batches(self._frame):
            self.began.set()
            self.ends.wait(60)
            self.seen.append(mine(self._frame))
        self.seen.append(mine(self._frame))

    def begin(self):
        self.start()
        assert self.began.wait(60)

    def end(self):
        self.ends.set()
        self.join()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_stages_at_the_same_time_see_their_own_in_every_order_of_ends(spark, order):
    numbers, texts = spark.range(3), spark.range(3).selectExpr("string(id)")
    stages = [Stage(numbers), Stage(texts), Stage(numbers)]
    for stage in stages:
        stage.begin()
    seen = []
    for index in order:
        seen.append((mine(numbers), spark.conf.get(BYTES)))
        stages[index].end()
    assert seen == [(None, spark.conf.get(BYTES))] * 3
    assert [stage.seen for stage in stages] == [[LIFTED, None], [LOW, None], [LIFTED, None]]


def test_what_the_user_sets_while_a_stage_runs_stays(spark):
    stage = Stage(spark.range(3))
    stage.begin()
    spark.conf.set(BYTES, "3m")
    try:
        stage.end()
        assert spark.conf.get(BYTES) == "3m"
    finally:
        spark.conf.unset(BYTES)


def test_two_fits_at_once_leave_the_session_as_it_is(spark, tmp_path):
    """Each is held in its first step until the other is there, too; the session is read then."""
    seen = []

    def meet(me, other):
        def on_step(rank, step):
            import time

            (tmp_path / me).touch()
            deadline = time.monotonic() + 60
            while not (tmp_path / other).exists() and time.monotonic() < deadline:
                time.sleep(0.02)

        return on_step

    def watch():
        while any(thread.is_alive() for thread in fits):
            seen.append(spark.conf.get(BYTES))
            stop.wait(0.005)

    df = spark.range(8).selectExpr("id / 8D x", "id / 8D y")
    stop = threading.Event()

    def fit(me, other):
        FakeEstimator.of(linear(1, on_step=meet(me, other))).fit(df)

    names = ("one", "two")
    fits = [threading.Thread(target=fit, args=pair) for pair in (names, names[::-1])]
    for thread in fits:
        thread.start()
    watch()
    assert (tmp_path / "one").exists() and (tmp_path / "two").exists()
    assert set(seen) == {spark.conf.get(BYTES)}


def test_where_threads_share_properties_or_there_are_none_the_limit_stays(spark):
    shared = SimpleNamespace(_gateway=object())
    with quick_batches(SimpleNamespace(sparkSession=SimpleNamespace(sparkContext=shared))):
        pass

    class Server:
        __module__ = "pyspark.sql.connect.session"

    with quick_batches(SimpleNamespace(sparkSession=Server())):
        pass


def test_a_session_that_ended_meanwhile_does_not_hide_behind_the_clean_up(spark, monkeypatch):
    def gone(key, value):
        raise ConnectionRefusedError("nobody listens")

    context = spark.sparkContext
    with monkeypatch.context() as patch, pytest.raises(KeyError):
        with quick_batches(spark.range(3)):
            patch.setattr(context, "setLocalProperty", gone)
            raise KeyError("the cause")
    context.setLocalProperty(BYTES, None)
