"""The stopwatch of a job."""

from zoo.orca.worker.profile import PARTS, Profile


def test_phases_follow_one_another():
    times = iter([10.0, 12.0, 12.5, 20.0])
    profile = Profile(lambda: next(times))
    profile.end("import")
    profile.end("build")
    profile.add("validation", 3.0)
    profile.end("build")
    assert profile.phases == {"import": 2.0, "build": 8.0, "validation": 3.0}
    assert list(profile.to_json()["parts"]) == list(PARTS)
