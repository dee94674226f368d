"""The stopwatch of a job."""

from zoo.orca.worker.timings import PARTS, Stopwatch


def test_phases_follow_one_another():
    times = iter([10.0, 12.0, 12.5, 20.0])
    timings = Stopwatch(lambda: next(times))
    timings.end("import")
    timings.end("build")
    timings.add("validation", 3.0)
    timings.end("build")
    assert timings.phases == {"import": 2.0, "build": 8.0, "validation": 3.0}
    assert list(timings.timings().parts) == list(PARTS)
