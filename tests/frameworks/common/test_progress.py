"""What the driver hears of a training, whatever the framework."""

import pytest

from zoo.orca.frameworks.common import progress
from zoo.orca.frameworks.common.progress import TrainingReporter
from zoo.orca.wire.messages.progress import EpochBegan, EpochEnded, StepTaken, Warned
from zoo.orca.wire.plans.placed import PlacedPlan
from zoo.orca.wire.plans.plan import global_rows
from zoo.orca.worker.collective.protocol import Alone
from zoo.orca.worker.plugin import World

#: Passes of three steps, of 4, 4 and 2 rows.
PLAN = PlacedPlan(counts=(10,), batch_size=4)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class OtherRank(Alone):
    """A collective of which this process is not the first."""

    rank = 1


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def reporter(collective=None):
    told = []
    world = World(collective=collective or Alone(), report=told.append)
    return TrainingReporter(world, PLAN, epochs=5), told


def test_an_epoch_is_told_with_the_rows_of_all_ranks(clock):
    found, told = reporter()
    found.begin(3, start=2, steps=3)
    clock.now += 1.5
    found.end(2, {"loss": 0.5})
    begun, ended = told
    assert begun == EpochBegan(epoch=3, epochs=5, steps=3)
    # A callback has ended the epoch before its last step.
    rows = int(global_rows(PLAN, 2, 2).sum())
    assert rows == 2 + 4
    assert ended == EpochEnded(steps=2, rows=rows, seconds=1.5, logs={"loss": 0.5})


def test_steps_are_told_now_and_then(clock):
    asked = []

    def logs():
        asked.append(clock.now)
        return {"loss": 1.0}

    found, told = reporter()
    found.begin(0, start=0, steps=3)
    for done, seconds in ((0, 0.5), (1, 0.0), (1, 0.1), (2, 0.1), (3, 0.25)):
        clock.now += seconds
        found.step(done, logs)
    steps = [one for one in told if isinstance(one, StepTaken)]
    assert [(one.steps, one.rows) for one in steps] == [(1, 4), (3, 10)]
    assert len(asked) == len(steps)


def test_what_is_not_finite_is_told_once(clock):
    found, told = reporter()
    for epoch in range(2):
        found.begin(epoch, start=0, steps=3)
        found.end(3, {"loss": float("nan"), "mae": 1.0})
    assert [one.text for one in told if isinstance(one, Warned)] == [
        "loss is not a finite number after epoch 1"
    ]


def test_other_ranks_say_nothing(clock):
    found, told = reporter(OtherRank())
    found.begin(0, start=0, steps=3)
    clock.now += 1.0
    found.step(1, dict)
    found.end(3, {"loss": float("inf")})
    found.warn("one\ntwo")
    assert not told


def test_each_line_is_a_warning(clock):
    found, told = reporter()
    found.warn("one\ntwo")
    found.warn("")
    assert [one.text for one in told] == ["one", "two"]
