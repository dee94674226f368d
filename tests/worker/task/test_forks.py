"""A fork of a process with a child and a door outlives it without harm."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.worker.task.test_neighbours import ENVIRONMENT, Pair, predicts

pytestmark = [
    pytest.mark.timeout(60),
    # Python and JAX warn of forks of a process with threads, which user code makes all the same.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:RuntimeWarning"),
]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A process with an idle child, of which there is a fork."""
    found = Pair()
    fork = os.fork()
    if not fork:
        try:
            found.warm.stop()  # as at its end
            time.sleep(60)
        finally:
            os._exit(1)
    yield found
    os.kill(fork, signal.SIGKILL)
    os.waitpid(fork, 0)
    found.child.stop()


def test_a_child_works_on_and_ends_with_the_process_that_has_it(pair: Pair) -> None:
    predicts(pair.child)
    assert os.path.exists(pair.child._running.temporary)
    assert pair.warm.acquire(ENVIRONMENT) is pair.child
    pair.child.stop()
    assert pair.child._process.poll() == 0


def test_a_door_closes_with_the_process_that_has_it(pair: Pair) -> None:
    assert pair.other._others() == [pair.door.name]
    pair.door.close()
    until = time.monotonic() + 10
    while pair.other._others() and time.monotonic() < until:
        time.sleep(0.02)
    assert not pair.other._others()
