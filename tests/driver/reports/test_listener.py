"""The line from worker to driver: what is sent arrives, in order, and strangers are kept out."""

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from zoo.orca.driver.reports import listener
from zoo.orca.driver.reports.listener import ReportListener
from zoo.orca.driver.session.certificate import self_signed
from zoo.orca.wire.handshake import drive, initiate
from zoo.orca.wire.messages.line import Hello
from zoo.orca.wire.messages.progress import EpochRecorded, LogLine
from zoo.orca.wire.report import REPORT_PURPOSE, ReportTo
from zoo.orca.worker.task.reporting import Reporter

pytestmark = pytest.mark.timeout(60)


class Recorder:
    """A display that remembers."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.ranks: set[int] = set()

    def show(self, progress: Any, rank: int = 0) -> None:
        self.reports.append(progress)
        self.ranks.add(rank)

    def close(self) -> None:
        self.reports.append("closed")


@pytest.mark.parametrize("encrypted", [False, True])
def test_reports_arrive_in_order_and_strangers_disturb_nobody(
    spark: SparkSession, encrypted: bool
) -> None:
    recorder = Recorder()
    with ReportListener(spark, recorder, self_signed() if encrypted else "") as server:
        assert server.report_to is not None
        address = (server.report_to.host, server.report_to.port)
        with socket.create_connection(address) as stranger:
            stranger.sendall(LogLine(text="evil").to_line() + b"\n" * 200)
            silent = socket.create_connection(address)
            # These two know the secret: one speaks in clear, one has another job's certificate.
            for identity in ("", self_signed()) if encrypted else ():
                other = Reporter(replace(server.report_to, identity=identity), 5)
                other.log("evil")
                other.close()
            reporter = Reporter(server.report_to, 3)
            for number in range(5):
                reporter.log(str(number))
            reporter.close()
            silent.close()
    texts = [one.text for one in recorder.reports if isinstance(one, LogLine)]
    assert texts == ["0", "1", "2", "3", "4"]
    assert recorder.reports[-1] == "closed"
    assert recorder.ranks == {0, 3}  # 0: the driver itself


def _line(to: ReportTo, rank: int) -> socket.socket:
    """Return a rank's line, which its process ends by its own end."""
    line = socket.create_connection((to.host, to.port), 5)
    hello = Hello(rank=rank, host=f"host{rank}").to_text().encode()
    with line.makefile("rb") as stream:
        drive(initiate(to.secret, hello, purpose=REPORT_PURPOSE), line.sendall, stream.read)
    return line


def test_the_first_line_that_breaks_is_known_by_rank_and_host(spark: SparkSession) -> None:
    with ReportListener(spark, Recorder()) as server:
        assert server.report_to is not None
        orderly = Reporter(server.report_to, 0, "host0")
        orderly.log("here")
        lines = {rank: _line(server.report_to, rank) for rank in (1, 2)}
        orderly.close()
        for rank in (2, 1):
            lines[rank].close()
            time.sleep(0.2)
        assert server.first_lost() == (2, "host2")
        again = Reporter(server.report_to, 2, "host3")  # Spark has restarted the stage
        again.log("here")
        again.close()
        assert server.first_lost() == (1, "host1")


def test_lines_that_the_driver_cannot_take_are_counted(spark: SparkSession) -> None:
    class Busy(Recorder):
        def show(self, progress: Any, rank: int = 0) -> None:
            free.wait()
            super().show(progress, rank)

    free, recorder, sent = threading.Event(), Busy(), 30_000
    epochs: list[int] = []
    free.set()
    with ReportListener(
        spark, recorder, on_epoch=lambda report, reply: epochs.append(report.epoch)
    ) as server:
        reporter = Reporter(server.report_to, 3)
        free.clear()
        for number in range(sent):
            reporter.log(f"{number} {'x' * 1000}")
        reporter.send(EpochRecorded(epoch=1))  # there are few of these
        free.set()
        reporter.close()
    texts = [one.text for one in recorder.reports if isinstance(one, LogLine)]
    told = [text for text in texts if text.endswith("than the driver could take)")]
    dropped = sum(int(text.split()[0].strip("(").replace(",", "")) for text in told)
    assert dropped > 0
    assert epochs == [1]
    assert dropped + len(texts) - len(told) == sent


def test_a_driver_that_cannot_be_reached_costs_nothing(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    with ReportListener(spark, Recorder()) as server:
        gone = server.report_to
    reporter = Reporter(gone, 0)
    reporter.log("lost")
    reporter.close()
    assert "no progress" in caplog.text


def test_a_machine_whose_own_name_is_unknown_shows_no_progress(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unknown(name: str) -> str:
        raise socket.gaierror(-2, f"{name}: name or service not known")

    monkeypatch.setattr(listener, "is_local", lambda spark: False)
    monkeypatch.setattr(listener, "is_connect", lambda spark: True)
    monkeypatch.setattr(socket, "gethostbyname", unknown)
    recorder = Recorder()
    with ReportListener(spark, recorder) as server:
        assert server.report_to is None
    assert recorder.reports == ["closed"]
    assert "no progress will be shown: cannot listen on this machine" in caplog.text
