"""The table that a profiled `fit` prints."""

from zoo.orca.driver.reports.timings import describe
from zoo.orca.wire.messages.results import Timings


def test_a_column_for_each_worker():
    one = Timings(phases={"build": 1.5}, steps=10, parts={"feed": 0.001, "compute": 0.02})
    other = Timings(phases={"build": 2.0, "epochs": 30.25}, steps=0, parts=one.parts)
    assert describe([one, other]).splitlines() == [
        "seconds  worker 0  worker 1",
        "build        1.50      2.00",
        "epochs       0.00     30.25",
        "",
        "ms of a training step  worker 0  worker 1",
        "feed                      0.100     1.000",
        "compute                   2.000    20.000",
        "all                       2.100    21.000",
    ]
