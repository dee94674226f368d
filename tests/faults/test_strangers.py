"""Strangers that connect to a listener, more than there are descriptors: peers are still served."""

import time
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.fake_estimator import FakeEstimator, linear
from tests.faults.crowd import crowd, descriptors_left, is_full
from tests.faults.table import EQUAL, came_out
from tests.worker.collective.ring_processes import SECRET, in_threads, on_all
from zoo.orca.driver.reports.display import Silent
from zoo.orca.driver.reports.listener import ReportListener
from zoo.orca.worker.collective.mesh import connect
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.task.reporting import Reporter

pytestmark = pytest.mark.timeout(90)

STRANGERS = 191
LEFT = 60
LIMIT_SECONDS = 15.0


@pytest.mark.fault("191 strangers connect to the driver's port, which has 60 file descriptors")
def test_fit_among_strangers_at_the_drivers_port(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = spark.range(1000).select(F.rand(1).alias("x"), F.rand(2).alias("y")).cache()
    expected = FakeEstimator.of(linear(), 2)
    expected.fit(rows)
    crowds: list[Any] = []
    enter = ReportListener.__enter__

    def enter_with_a_crowd(listener: ReportListener) -> ReportListener:
        entered = enter(listener)
        assert listener.report_to is not None
        one = crowd(listener.report_to.host, listener.report_to.port, STRANGERS)
        one.__enter__()
        crowds.append(one)
        return entered

    monkeypatch.setattr(ReportListener, "__enter__", enter_with_a_crowd)
    estimator = FakeEstimator.of(linear(), 2)
    begin = time.monotonic()
    try:
        with descriptors_left(LEFT):
            estimator.fit(rows)
        seconds = time.monotonic() - begin
    finally:
        for one in crowds:
            one.__exit__(None, None, None)
    assert len(crowds) == 1
    assert seconds < LIMIT_SECONDS
    assert estimator.weights.tobytes() == expected.weights.tobytes()
    came_out(EQUAL, seconds)


@pytest.mark.fault("strangers take the driver's last file descriptors")
def test_the_drivers_listener_goes_on_where_no_descriptor_is_left(spark: SparkSession) -> None:
    """What the strangers leave of the descriptors, other parts of the program may take."""
    with ReportListener(spark, Silent()) as listener:
        assert listener.report_to is not None
        address = (listener.report_to.host, listener.report_to.port)
        with crowd(*address, STRANGERS), descriptors_left(5):
            time.sleep(1.0)
        assert not is_full(LEFT)
        # The strangers are gone. Whoever comes now is served as if they had never been.
        answers: list[Any] = []
        reporter = Reporter(listener.report_to, 0)
        reporter.meet(0, 1, ("127.0.0.1", 1), answers.append)
        deadline = time.monotonic() + 10
        while not answers and time.monotonic() < deadline:
            time.sleep(0.05)
        reporter.close()
    assert answers[0].addresses == (("127.0.0.1", 1),)
    came_out("strangers are turned away, and workers are answered")


@pytest.mark.fault("191 strangers connect to each of two workers, which have 60 file descriptors")
def test_a_ring_among_strangers() -> None:
    listeners = [Listener() for _ in range(3)]
    addresses = [listener.address for listener in listeners]

    def peer(rank: int) -> Ring:
        time.sleep(rank)  # they come when the strangers have filled the process
        return Ring.connect(listeners[rank], rank, addresses, SECRET, timeout=30)

    begin = time.monotonic()
    with crowd(*addresses[0], STRANGERS), crowd(*addresses[1], STRANGERS):
        with descriptors_left(LEFT):
            rings = in_threads([lambda rank=rank: peer(rank) for rank in range(3)])
        assert all(isinstance(ring, Ring) for ring in rings), rings
        on_all(rings, Ring.barrier)
    seconds = time.monotonic() - begin
    assert seconds < LIMIT_SECONDS
    came_out("strangers are turned away, and the workers meet", seconds)
    for ring in rings:
        ring.close()


@pytest.mark.fault("strangers take a worker's last file descriptors")
def test_a_rings_listener_goes_on_where_no_descriptor_is_left() -> None:
    listeners = [Listener() for _ in range(2)]
    addresses = [listener.address for listener in listeners]

    def second() -> list[Any]:
        time.sleep(2.0)
        return connect(listeners[1], 1, addresses, SECRET, 30)

    def first() -> list[Any]:
        return connect(listeners[0], 0, addresses, SECRET, 30)

    with crowd(*addresses[0], 50):
        with descriptors_left(8):
            links = in_threads([first, second])
    assert [len(found) for found in links] == [1, 1], links
    came_out("strangers are turned away, and the workers meet")
    for (link,) in links:
        link.close()
    for listener in listeners:
        listener.close()
