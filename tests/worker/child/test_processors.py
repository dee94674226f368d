"""The processors on which a child's threads run."""

import contextlib
import os
import threading

import pytest

from zoo.orca.wire.processors import usable_processors
from zoo.orca.worker.child.processors import Processors

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(len(usable_processors()) < 2, reason="needs two processors"),
    pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="only Linux binds threads"),
]


def where_all_run() -> set[frozenset[int]]:
    found = set()
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # another test's last thread has ended
            found.add(frozenset(os.sched_getaffinity(int(thread))))
    return found


def test_all_threads_move_with_every_job() -> None:
    everywhere = frozenset(usable_processors())
    one, other = ({cpu} for cpu in usable_processors()[:2])
    processors, done = Processors(), threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for wanted in (one, other, set(), other):
            processors.bind(wanted)
            assert where_all_run() == {frozenset(wanted) or everywhere}
            threads.append(threading.Thread(target=done.wait))
            threads[-1].start()
            assert where_all_run() == {frozenset(wanted) or everywhere}
    finally:
        processors.bind([])
        done.set()
        for thread in threads:
            thread.join()
    assert where_all_run() == {everywhere}
