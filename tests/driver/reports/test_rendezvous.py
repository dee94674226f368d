"""Workers meet at the driver: all of one attempt, or nobody is told anything."""

import queue
import threading
import time
from dataclasses import dataclass

import pytest
from pyspark import TaskContext
from pyspark.sql import SparkSession

from tests.fake_estimator import FakeEstimator, linear
from zoo.orca.driver import stage
from zoo.orca.driver.reports.listener import ReportListener
from zoo.orca.driver.reports.rendezvous import RendezvousPlace
from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.line import FROM_DRIVER, AskToGather, Present
from zoo.orca.worker.task import rendezvous
from zoo.orca.worker.task.rendezvous import Attempt, AttemptOverError, Rendezvous

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]

A, B, C = ("a", 1), ("b", 2), ("c", 3)


def come(place, rank, task, size, told, address=None):
    def reply(line):
        told.append((rank, FROM_DRIVER.from_text(line).addresses))

    where = address or (f"{rank}", task)
    place.join(rank, Present(task=task, size=size, address=where), reply)
    return reply


def test_the_last_to_come_sets_off_the_replies():
    place, told = RendezvousPlace(), []
    for rank, task in ((2, 40), (0, 41)):
        come(place, rank, task, 3, told)
    assert told == []
    come(place, 1, 42, 3, told)
    assert sorted(told) == [(rank, (("0", 41), ("1", 42), ("2", 40))) for rank in range(3)]


def test_attempts_do_not_mix():
    place, told = RendezvousPlace(), []
    come(place, 0, 10, 2, told)  # its peer, task 11, is lost before it comes
    come(place, 1, 13, 2, told)
    assert told == []
    come(place, 0, 12, 2, told)
    assert sorted(told) == [(0, (("0", 12), ("1", 13))), (1, (("0", 12), ("1", 13)))]


def test_a_second_attempt_meets_like_the_first():
    place, told = RendezvousPlace(), []
    for task in (10, 11, 12, 13):
        come(place, task % 2, task, 2, told)
    assert [addresses for _, addresses in told] == 2 * [(("0", 10), ("1", 11))] + 2 * [
        (("0", 12), ("1", 13))
    ]


def test_who_hangs_up_is_forgotten():
    place, told = RendezvousPlace(), []
    place.leave(come(place, 0, 11, 2, told))
    come(place, 1, 12, 2, told)
    assert told == []
    come(place, 0, 13, 2, told)
    assert sorted(told) == [(0, (("0", 13), ("1", 12))), (1, (("0", 13), ("1", 12)))]


def test_a_rank_that_cannot_be_told_keeps_nobody_else_from_it():
    def broken(line):
        raise OSError

    place, told = RendezvousPlace(), []
    place.join(0, Present(task=5, size=2, address=A), broken)
    come(place, 1, 6, 2, told, B)
    assert told == [(1, (A, B))]


class Line:
    """What a rank has of a reporter: a way to the place and back, which may break."""

    def __init__(self, place, rank, whole=True):
        self._place, self._rank, self._whole = place, rank, whole
        self._answers = queue.Queue()

    def meet(self, task, size, address, on_answer):
        if not self._whole:
            on_answer(None)
            return
        threading.Thread(target=self._listen, args=(on_answer,), daemon=True).start()
        present = Present(task=task, size=size, address=address)
        self._place.join(self._rank, present, self._answers.put)

    def ask_to_gather(self, stage, task):
        if self._whole:
            self._place.gather(AskToGather(stage=stage, task=task), self._answers.put)

    def hang_up(self):
        self._place.leave(self._answers.put)
        self._answers.put(None)

    def _listen(self, on_answer):
        while (answer := self._answers.get()) is not None:
            on_answer(FROM_DRIVER.from_text(answer))
        on_answer(None)


class Barrier:
    """Spark's `allGather`: who enters waits for all others."""

    def __init__(self, size):
        self._barrier, self._texts = threading.Barrier(size), [""] * size
        self.entered = []

    def of(self, rank):
        def all_gather(text):
            self.entered.append(rank)
            self._texts[rank] = text
            self._barrier.wait(20)
            return list(self._texts)

        return all_gather


def attempt(rank, size):
    return Attempt(stage=7, task=40 + rank, size=size)


def meet(lines, delays, addresses):
    """Let ranks meet, each after its delay; return what each was told, and who gathered."""
    size = len(lines)
    barrier, told = Barrier(size), [[] for _ in range(size)]

    def run(rank):
        time.sleep(delays[rank])
        gather = barrier.of(rank)
        own = Rendezvous(gather, lines[rank], attempt(rank, size), 20.0)
        own.meet(addresses[rank], told[rank].append)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a task waits for ever"
    return told, sorted(barrier.entered)


@pytest.mark.parametrize(
    ("whole", "delays", "gathers"),
    [
        ("111", (0, 0, 0), False),
        ("111", (0, 0.1, 0.2), False),
        ("111", (0, 0.8, 0), True),  # two lose patience; the third is told to come as well
        ("110", (0, 0, 0), True),
        ("011", (0.8, 0, 0), True),
        ("001", (0, 0, 0.8), True),
        ("000", (0, 0.2, 0), True),
    ],
)
@pytest.mark.parametrize("addresses", [(A, B, C), (A, None, C)])
def test_all_enter_the_all_gather_or_none(monkeypatch, whole, delays, gathers, addresses):
    monkeypatch.setattr(rendezvous, "_PATIENCE", 0.4)
    place = RendezvousPlace()
    lines = [Line(place, rank, one == "1") for rank, one in enumerate(whole)]
    told, entered = meet(lines, delays, addresses)
    assert [[tuple(one) for one in ones] for ones in told] == 3 * [[addresses]]
    assert entered == ([0, 1, 2] if gathers else [])


def test_whoever_loses_its_line_before_all_have_come_makes_all_gather(monkeypatch):
    monkeypatch.setattr(rendezvous, "_PATIENCE", 0.4)
    place = RendezvousPlace()
    lines = [Line(place, rank) for rank in range(2)]
    threading.Timer(0.1, lines[0].hang_up).start()
    told, entered = meet(lines, (0, 0.3), [A, B])
    assert [[tuple(one) for one in ones] for ones in told] == 2 * [[(A, B)]]
    assert entered == [0, 1]


def test_whoever_gathers_alone_does_not_wait_for_ever(monkeypatch):
    """Its line breaks when the others have their answer, and they enter no `allGather`."""
    monkeypatch.setattr(rendezvous, "_APART", 0.3)
    barrier, told = Barrier(2), []
    line = Line(RendezvousPlace(), 0, whole=False)
    own = Rendezvous(barrier.of(0), line, attempt(0, 2), 0.2)
    with pytest.raises(PeerLostError, match=r"not all of the 2 workers .*\n.*connect\.timeout"):
        own.meet(A, told.append)
    assert (barrier.entered, told) == ([0], [])


def test_what_spark_raises_in_the_all_gather_is_told():
    def all_gather(text):
        raise OSError("the stage was aborted")

    line = Line(RendezvousPlace(), 0, whole=False)
    own = Rendezvous(all_gather, line, attempt(0, 2), 20.0)
    with pytest.raises(OSError, match="was aborted"):
        own.meet(A, lambda addresses: None)


@pytest.mark.parametrize("over_after", [0, 3], ids=["at once", "while it gathers"])
def test_whoever_waits_for_a_task_that_never_comes_ends_with_its_attempt(monkeypatch, over_after):
    """Spark could not fetch the rows of rank 0, and does not tell rank 1."""
    monkeypatch.setattr(rendezvous, "_PATIENCE", 0.1)
    asked = []

    def is_over(stage, task):
        asked.append((stage, task))
        return len(asked) > over_after

    barrier, told = Barrier(2), []
    own = Rendezvous(barrier.of(1), Line(RendezvousPlace(is_over), 1), attempt(1, 2), 20.0)
    begin = time.monotonic()
    with pytest.raises(AttemptOverError):
        own.meet(B, told.append)
    assert time.monotonic() - begin < 5
    assert asked == [(7, 41)] * (over_after + 1)
    assert (barrier.entered, told) == ([1] if over_after else [], [])


def test_a_rank_alone_needs_nobody():
    assert meet([Line(RendezvousPlace(), 0, whole=False)], (0,), [A]) == ([[[A]]], [])


@dataclass(frozen=True)
class PartlyCutOff:
    """A `ReportTo` where the ranks in `cut_off` find nobody at the driver's port."""

    host: str
    open_port: int
    secret: bytes
    cut_off: frozenset[int]

    @property
    def port(self) -> int:
        return 1 if TaskContext.get().partitionId() in self.cut_off else self.open_port


@pytest.mark.parametrize("cut_off", [set(), {1}, {0, 1, 2}])
def test_workers_meet_whoever_can_reach_the_driver(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, cut_off: set[int]
) -> None:
    class Server(ReportListener):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            to = self.report_to
            self.report_to = PartlyCutOff(to.host, to.port, to.secret, frozenset(cut_off))

    monkeypatch.setattr(stage, "ReportListener", Server)
    rows = spark.range(20).selectExpr("cast(id as float) x", "cast(id as float) y")
    FakeEstimator.of(linear(rate=1e-4), 3).fit(rows)
