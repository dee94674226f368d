"""What a session says of its cluster, which must not depend on the thread that asks."""

import threading
import time
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.context import sessions
from zoo.orca.driver.session import cluster
from zoo.orca.driver.session.cluster import is_connect, nodes
from zoo.orca.learn import requests

DYNAMIC = {"spark.dynamicAllocation.enabled": "true"}
INSTANCES = "spark.executor.instances"


class Session:
    """A classic session, as far as its settings and executors go."""

    def __init__(self, master, settings=None, executors=(), age=100.0):
        self.conf = {"spark.master": master, **(settings or {})}
        self.asked = 0
        self._executors = list(executors) or [0]
        scala = SimpleNamespace(getExecutorIds=self._ids)
        self.sparkContext = SimpleNamespace(
            startTime=int(1000 * (time.time() - age)), _jsc=SimpleNamespace(sc=lambda: scala)
        )

    def _ids(self):
        """Return the executors that are there now; of those given, one more with each question."""
        now = self._executors[min(self.asked, len(self._executors) - 1)]
        self.asked += 1
        return SimpleNamespace(size=lambda: now)


class Server:
    """A session of Spark Connect, as far as its settings go."""

    __module__ = "pyspark.sql.connect.session"

    def __init__(self, master, settings=None):
        self.conf = {"spark.master": master, **(settings or {})}


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (Session("local[4]", {INSTANCES: "7"}), 1),
        (Session("local", executors=[7]), 1),
        (Session("yarn", {INSTANCES: "3"}, [2]), 3),  # the last one is still registering
        (Session("spark://h:7077", executors=[4]), 4),
        (Session("local-cluster[2,1,1024]", executors=[2]), 2),
        (Session("yarn", {INSTANCES: "3"} | DYNAMIC, [5]), 5),
        (Session("yarn", DYNAMIC, [0], age=0), 1),
        (Session("yarn", {"spark.dynamicAllocation.minExecutors": "4"} | DYNAMIC, [9]), 4),
        (Session("spark://h:7077"), 1),
        (Server("local[4]"), 1),
        (Server("yarn", {INSTANCES: "3"}), 3),
        (Server("yarn"), 1),
        (Server("yarn", {INSTANCES: "9"} | DYNAMIC), 1),
        (Server("yarn", {"spark.dynamicAllocation.minExecutors": "4"} | DYNAMIC), 4),
    ],
)
def test_nodes_are_those_of_the_settings_or_the_executors_that_are_there(session, expected):
    assert nodes(session) == expected


def test_executors_of_a_young_session_are_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "_SETTLED_SECONDS", 0.35)
    assert nodes(Session("spark://h:7077", executors=[0, 0, 1, 1, 2, 3], age=0)) == 3
    old = Session("spark://h:7077", executors=[1, 2, 3])
    assert nodes(old) == 1 and old.asked == 1


def test_on_slow_machines_executors_are_waited_for_longer(monkeypatch):
    monkeypatch.setattr(cluster, "_SETTLED_SECONDS", 0.05)
    session = Session("spark://h:7077", executors=[0, 1, 1, 1, 2], age=1)
    assert nodes(session) == 2


def test_nobody_waits_for_ever_for_executors_that_do_not_come(monkeypatch):
    monkeypatch.setattr(cluster, "_REGISTERED_WITHIN_SECONDS", 0.3)
    assert nodes(Session("spark://h:7077", age=0)) == 1


@pytest.fixture
def two_nodes(spark, monkeypatch):
    """Let the sessions of this program's one context have two nodes, any other one."""

    def count(session):
        return 2 if is_connect(session) or session.sparkContext is spark.sparkContext else 1

    monkeypatch.setattr(requests, "nodes", count)


def trained_in(directory):
    """Return an estimator of as many workers as there are nodes, which notes its ranks."""

    def note(rank, step):
        (directory / str(rank)).touch()

    return FakeEstimator.of(linear(1, on_step=note), workers=None)


def ranks(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.timeout(120)
def test_a_fit_in_another_thread_has_as_many_workers(spark, two_nodes, tmp_path):
    frame = spark.range(8).selectExpr("id / 8D x", "id / 8D y")
    est = trained_in(tmp_path)
    seen = []

    def work():
        assert SparkSession.getActiveSession() is None
        seen.append(est.num_workers)
        est.fit(frame)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [est.num_workers] == [2]
    assert ranks(tmp_path) == ["0", "1"]


@pytest.mark.classic("a server runs the function, in a process that counts nodes itself")
@pytest.mark.timeout(120)
def test_a_fit_within_foreach_batch_has_as_many_workers(spark, two_nodes, tmp_path):
    (tmp_path / "ranks").mkdir()
    est = trained_in(tmp_path / "ranks")
    spark.range(8).selectExpr("id / 8D x", "id / 8D y").write.parquet(str(tmp_path / "rows"))
    stream = spark.readStream.schema("x double, y double").parquet(str(tmp_path / "rows"))
    writer = stream.writeStream.foreachBatch(lambda batch, number: est.fit(batch) and None)
    writer = writer.option("checkpointLocation", str(tmp_path / "checkpoint"))
    query = writer.trigger(availableNow=True).start()
    assert query.awaitTermination(90)
    assert query.exception() is None
    assert ranks(tmp_path / "ranks") == ["0", "1"]


def test_an_estimator_made_in_another_thread_finds_the_session(spark, monkeypatch):
    def found():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(sessions.known_session()))
        thread.start()
        thread.join()
        return seen

    assert found() == [spark]
    # One that Orca has not been told of, and one that was stopped.
    monkeypatch.setattr(sessions._last, "session", None)
    assert found() == [spark]
    stopped = SimpleNamespace(sparkContext=SimpleNamespace(_jsc=None), is_stopped=True)
    monkeypatch.setattr(sessions._last, "session", stopped)
    assert found() == [spark]
