"""Which warm child a task gets, if any: one of the same environment and of allowed threads."""

import pytest

from zoo.orca.worker.task.threads import Threads
from zoo.orca.worker.task.warm_children import _alike, acquire, release

pytestmark = pytest.mark.timeout(60)


def test_a_warm_child_is_used_again_for_the_same_environment_only() -> None:
    first = acquire({"A": "1"})
    release(first)
    assert acquire({"A": "1"}) is first
    release(first)
    other = acquire({"A": "2"})
    assert other.pid != first.pid
    assert not first.alive
    other.stop()


def test_a_warm_child_is_used_again_for_threads_that_are_allowed_only() -> None:
    first = acquire({"A": "1"}, Threads(count=2, fewest=2, most=2))
    release(first)
    assert acquire({"A": "1"}, Threads(count=1, fewest=1, most=2)) is first
    release(first)
    other = acquire({"A": "1"}, Threads(count=1, fewest=1, most=1))
    assert (other.threads, first.alive) == (1, False)
    release(other)
    assert acquire({"A": "1"}, Threads(count=4, fewest=0, most=None)) is other
    other.stop()


def test_processes_of_sessions_with_files_of_their_own_are_not_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rooms = set()
    for session in ("one", "another", "another"):
        monkeypatch.setenv("SPARK_JOB_ARTIFACT_UUID", session)
        rooms.add(_alike())
    assert len(rooms) == 2
