"""The warm children of an executor: kept for the next task, and found by it.

A child outlives its task, because importing a framework takes seconds. Spark reuses Python workers
and gives each task the one that has waited longest. So a task's Python worker need not be the one
that has a warm child, and a prediction may have more tasks than there are warm children. Therefore
the Python workers that one daemon has forked, which are alike, take children from each other
(`zoo.orca.worker.task.neighbours`). A prediction of a few rows waits a little for one that is
predicting; one of many starts a child, which makes it faster from then on.
"""

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable

from pyspark import TaskContext

from zoo.orca.wire.messages.neighbours import ChildWanted, NotGiven
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.forks import not_in_forks
from zoo.orca.worker.task.handing import Handed
from zoo.orca.worker.task.neighbours import Neighbours, taken_at
from zoo.orca.worker.task.threads import Threads
from zoo.orca.worker.temporary import local_directory

#: Seconds that a Python worker waits for children of others, in all tasks of a stage together. A
#: framework's import takes about as long, so to wait before it costs at most twice the least.
_PATIENCE_SECONDS = 3.0
_LOOK_SECONDS = 0.01
#: Seconds that a child may still import its framework when its task comes to take it.
EARLY_SECONDS = 120.0
_ANY = Threads(count=0, fewest=0, most=None)


class WarmChildren:
    """The idle children of this process, and the way to those of its neighbours.

    Parameters
    ----------
    hand_over_seconds : float
        How long an idle child may take for its last words.
    """

    def __init__(self, hand_over_seconds: float = 2.0) -> None:
        self._hand_over_seconds = hand_over_seconds
        # A child is seen in one place at any time: idle, at work, or on its way.
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._at_work: Child | None = None
        self._on_their_way = self._changes = 0
        self._neighbours: Neighbours | None = None
        self._stage = -1
        self._waited = 0.0
        not_in_forks(self)

    def forked(self) -> None:
        """Forget the children, in a fork of this process, and who has held the lock."""
        self._lock = threading.Lock()
        self._idle, self._at_work, self._neighbours = [], None, None

    def acquire(
        self,
        environment: dict[str, str],
        threads: Threads | None = None,
        is_short: Callable[[], bool] | None = None,
        early: str = "",
    ) -> Child:
        """Return a child of that environment and allowed threads: a warm one, else a new one.

        Parameters
        ----------
        environment : dict
        threads : Threads, optional
        is_short : callable, optional
            Whether the task is a short one, which waits for the child of a neighbour at work.
            Neighbours wait for children of tasks that have this.
        early : str
            The name of a door of the driver's (`zoo.orca.driver.early_child`), if there is one.
        """
        allowed = threads or _ANY
        neighbours = self._among_neighbours()
        self._bury()
        with self._lock:
            child = self._idle_one(environment, allowed)
            self._at_work = child if is_short else None
            self._changes += 1
        if child is None and early:
            child = taken_at(early, _wanted(environment, allowed), EARLY_SECONDS)
        if child is None and neighbours is not None:
            child = self._taken_over(neighbours, _wanted(environment, allowed), is_short)
        if child is not None:
            child.renew()
            return child
        self.stop()
        return Child(environment, threads)

    def release(self, child: Child) -> None:
        """Keep `child` warm for the next task; stop those that were started for other jobs."""
        child.on_log = lambda line: None
        child.on_progress = lambda progress: None
        with self._lock:
            others = [one for one in self._idle if one.environment != child.environment]
            self._idle = [one for one in self._idle if one not in others]
            self._idle.append(child)
            self._at_work = None
            self._changes += 1
        for one in others:
            one.stop()

    @property
    def idle(self) -> int:
        """The number of idle children."""
        return len(self._idle)

    def stop(self) -> None:
        """Stop all idle children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.stop()

    def _bury(self) -> None:
        """Remove what idle children have left that were killed."""
        with self._lock:
            dead = [one for one in self._idle if not one.alive]
            self._idle = [one for one in self._idle if one not in dead]
        for child in dead:
            child.stop()

    def give(self, environment: dict[str, str], threads: Threads) -> Handed | NotGiven:
        """Return an idle child for another process, if there is one.

        It is on its way until `given` is called.
        """
        with self._lock:
            child = self._idle_one(environment, threads)
            if child is None:
                return self._nothing(environment, threads)
            self._on_their_way += 1
            self._changes += 1
        handed: Handed | None = None
        try:
            handed = child.hand_over(self._hand_over_seconds)
        finally:
            if handed is None:
                self.given()
        return handed or NotGiven(soon=False, changes=self._changes)

    def given(self) -> None:
        """Note that a child has arrived elsewhere, or was lost."""
        with self._lock:
            self._on_their_way -= 1
            self._changes += 1

    def _nothing(self, environment: dict[str, str], threads: Threads) -> NotGiven:
        busy = self._at_work
        works = busy is not None and _suits(busy, environment, threads)
        return NotGiven(soon=works or self._on_their_way > 0, changes=self._changes)

    def _idle_one(self, environment: dict[str, str], threads: Threads) -> Child | None:
        suit = (one for one in self._idle if _suits(one, environment, threads))
        found = next(suit, None)
        if found is not None:
            self._idle.remove(found)
        return found

    def _among_neighbours(self) -> Neighbours | None:
        """Open the door in a task of Spark's; other processes have no neighbours that are alike."""
        context = TaskContext.get()
        if context is None:
            return None
        if context.stageId() != self._stage:
            self._stage, self._waited = context.stageId(), 0.0
        if self._neighbours is None:
            self._neighbours = Neighbours(_alike(), self.give, self.given)
        return self._neighbours

    def _taken_over(
        self, neighbours: Neighbours, wanted: ChildWanted, is_short: Callable[[], bool] | None
    ) -> Child | None:
        def arrived(child: Child) -> None:
            with self._lock:
                self._at_work = child if is_short else None
                self._changes += 1

        threads = Threads(count=wanted.fewest, fewest=wanted.fewest, most=wanted.most)
        before: dict[str, NotGiven] = {}
        waits: bool | None = None if is_short else False
        while True:
            began = time.monotonic()
            found = neighbours.ask(wanted, arrived)
            if isinstance(found, Child):
                return found
            with self._lock:
                found[""] = self._nothing(wanted.environment, threads)
            soon = any(answer.soon for answer in found.values())
            if soon and waits is None and is_short:
                waits = is_short()
                began = time.monotonic()
            soon = soon and waits is True
            if self._waited >= _PATIENCE_SECONDS or (not soon and found == before):
                return None
            if soon:
                time.sleep(_LOOK_SECONDS)
            self._waited += time.monotonic() - began
            before = found


def _alike() -> str:
    """Return what processes have in common whose children are alike.

    Forks of one daemon have its Python, its variables and its paths. Where there is no daemon,
    sessions may differ in the files that are added to them.
    """
    session = os.environ.get("SPARK_JOB_ARTIFACT_UUID", "")
    return f"{local_directory()} {os.getppid()} {sys.executable} {session}"


def _wanted(environment: dict[str, str], threads: Threads) -> ChildWanted:
    return ChildWanted(environment=environment, fewest=threads.fewest, most=threads.most)


def _suits(child: Child, environment: dict[str, str], threads: Threads) -> bool:
    return child.alive and child.environment == environment and threads.allow(child.threads)


_WARM = WarmChildren()
acquire, release = _WARM.acquire, _WARM.release
stop_all = atexit.register(_WARM.stop)
