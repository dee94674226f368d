"""Watches the slots of a cluster while a stage runs, and ends the stage if it would wait in vain.

Spark starts a barrier stage again whose executor was lost, and then waits without limit until there
are slots for all of its tasks. Nothing that the stage itself could do would end that.
"""

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.resource import ResourceProfile
from pyspark.sql import SparkSession

from zoo.orca.driver.elastic.checkpoints import epochs_saved
from zoo.orca.driver.elastic.decisions import Memory, Sight, Terms, Verdict, grown, judge
from zoo.orca.driver.reports.display import Display
from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_connect, is_local, slots
from zoo.orca.driver.session.properties import has_own_properties
from zoo.orca.errors import SlotsError
from zoo.orca.wire.messages.progress import Progress

#: Seconds between two looks; before the workers have begun, a look must not be late.
_TURN, _EARLY_TURN = 0.5, 0.1
#: Seconds within which the tasks of a cancelled stage are over. Spark gives each two seconds.
_ENDS_WITHIN = 30.0
_logger = logging.getLogger(__name__)


class SlotsAreBack(Exception):
    """A stage was ended at a checkpoint, because there are slots for more workers.

    Attributes
    ----------
    workers : int
        How many it can have.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(f"there are slots for {workers} workers")
        self.workers = workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A stage to watch.

    Parameters
    ----------
    terms : Terms
    profile : ResourceProfile or None
        What its tasks ask for.
    checkpoints : str
        The directory of its checkpoints; empty if it has none.
    """

    terms: Terms
    profile: ResourceProfile | None = None
    checkpoints: str = ""


class Watch:
    """Looks at the slots in a thread, while another one runs the stage's jobs.

    Parameters
    ----------
    spark : SparkSession
    stage : Watched
    tag : str
        The tag of the stage's jobs.
    """

    def __init__(self, spark: SparkSession, stage: Watched, tag: str) -> None:
        self._spark, self._stage, self._tag = spark, stage, tag
        self._over = threading.Event()
        self._begun = threading.Event()
        self._lock = threading.Lock()
        self._memory = Memory()
        self._verdict: Verdict | None = None
        self._is_waiting = self._has_cancelled = False
        self._sight = Sight(now=time.monotonic(), slots=stage.terms.workers)
        self._thread = threading.Thread(target=self._run, name="orca-slots", daemon=True)

    def begin(self) -> None:
        """Begin to look."""
        self._thread.start()

    def workers_began(self) -> None:
        """Note that a worker runs; called from any thread."""
        self._begun.set()

    def end(self) -> None:
        """Look no longer; if jobs were cancelled, return once nothing of them runs any more."""
        self._over.set()
        self._thread.join(_ENDS_WITHIN)
        if self._has_cancelled:
            deadline = time.monotonic() + _ENDS_WITHIN
            # What is left of this attempt must not write beside the next one.
            while self._is_alive() and time.monotonic() < deadline:
                time.sleep(0.1)

    def check(self) -> None:
        """Raise what the verdict means, if the watch has ended the stage.

        Raises
        ------
        SlotsError
            If slots are missing. Its `slots` are None if they may be waited for.
        SlotsAreBack
            If there are slots for more workers.
        """
        if self._verdict is Verdict.SHORT:
            raise self._missing()
        if self._verdict is Verdict.MORE:
            raise SlotsAreBack(grown(self._stage.terms, self._sight))
        if self._verdict is Verdict.EARLY:
            error = self._missing()
            error.slots = None
            raise error

    def wait_for_slots(self) -> None:
        """Wait until all workers have a slot, before another attempt.

        Spark would look for them ten minutes long, and could not be stopped.

        Raises
        ------
        SlotsError
            If they do not come within the patience.
        """
        terms = self._stage.terms
        with self._lock:
            # There is nothing to end meanwhile.
            self._is_waiting = True
            since = self._memory.short_since or time.monotonic()
        while (found := slots(self._spark, self._stage.profile)) is not None:
            self._sight = Sight(now=time.monotonic(), slots=found)
            if found >= terms.workers:
                break
            if self._sight.now - since >= terms.patience:
                raise self._missing()
            time.sleep(_TURN)
        with self._lock:
            # What was seen of the last attempt says nothing of the next one.
            self._memory, self._verdict, self._is_waiting = Memory(), None, False
            self._begun.clear()

    def _missing(self) -> SlotsError:
        terms, found = self._stage.terms, self._sight.slots
        master = self._spark.conf.get("spark.master", "")
        fewer = f"ask for fewer workers (num_workers={found}), " if found else ""
        error = SlotsError(
            f"{terms.workers} workers need {terms.workers} slots at the same time, and {master} "
            f"has had {found} for {terms.patience:g} s: executors were lost\n"
            f"Bring them back and call again, {fewer}or wait longer "
            "(spark.orca.elastic.patience). With model_dir= and min_workers= a fit goes on with "
            "the slots that are left"
        )
        error.slots = found
        return error

    def _run(self) -> None:
        while not self._over.wait(_TURN if self._begun.is_set() else _EARLY_TURN):
            # A session that ends says so to the thread that waits for the job.
            with self._lock, contextlib.suppress(*spark_errors(), AttributeError):
                if self._is_waiting:
                    continue
                if self._verdict is None:
                    self._look()
                if self._verdict is not None:
                    # Again and again: a job may be about to start.
                    self._has_cancelled = True
                    self._spark.sparkContext.cancelJobsWithTag(self._tag)

    def _look(self) -> None:
        terms = self._stage.terms
        found = slots(self._spark, self._stage.profile)
        if found is None:
            return
        now = time.monotonic()
        if found < terms.workers:
            begun, active = self._begun.is_set(), max(self._active(), default=0)
            sight = Sight(now=now, slots=found, begun=begun, active=active)
        elif terms.workers < terms.wanted and found > terms.workers:
            epochs = epochs_saved(self._stage.checkpoints)
            sight = Sight(now=now, slots=found, free=found - self._running(), epochs=epochs)
        else:
            sight = Sight(now=now, slots=found)
        before, (self._memory, verdict) = self._memory, judge(terms, self._memory, sight)
        if before.epochs is None and self._memory.epochs is not None:
            _logger.info("there are slots for more workers: the stage ends with its epoch")
        if verdict is not None:
            _logger.info("the stage ends (%s): %s", verdict.name, sight)
            self._sight, self._verdict = sight, verdict

    def _is_alive(self) -> bool:
        with contextlib.suppress(*spark_errors(), AttributeError):
            return any(self._active())
        return False

    def _active(self) -> list[int]:
        """Return the running tasks of each stage of the tagged jobs."""
        tracker = self._spark.sparkContext.statusTracker()
        # The public Python API knows groups, and a thread has one group: the user's.
        context: Any = self._spark.sparkContext._jsc
        found = []
        for number in context.sc().statusTracker().getJobIdsForTag(self._tag):
            job = tracker.getJobInfo(number)
            stages = [tracker.getStageInfo(stage) for stage in (job.stageIds if job else ())]
            found += [stage.numActiveTasks for stage in stages if stage is not None]
        return found

    def _running(self) -> int:
        """Return the running tasks of all executors, whosever they are."""
        tracker = self._spark.sparkContext.statusTracker()
        return sum(executor.numRunningTasks for executor in tracker.getExecutorInfos())


class Noting:
    """A display that lets a watch know when workers run.

    Parameters
    ----------
    display : Display
        Shows what they report.
    watch : Watch
    """

    def __init__(self, display: Display, watch: Watch) -> None:
        self._display, self._watch = display, watch

    def show(self, progress: Progress, rank: int | None = None) -> None:
        """Show one report of a rank; None is the driver itself."""
        if rank is not None:
            self._watch.workers_began()
        self._display.show(progress, rank or 0)

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._display.close()


@contextlib.contextmanager
def watched(spark: SparkSession, stage: Watched) -> Iterator[Watch | None]:
    """Watch the slots while this thread runs the stage's jobs in the block.

    None where nothing can be seen or ended: there are no executors in local mode, Spark Connect
    tells no slots, and without PYSPARK_PIN_THREAD the jobs of a thread have no tag.
    """
    if is_local(spark) or is_connect(spark):
        yield None
        return
    context = spark.sparkContext
    if not has_own_properties(context):
        yield None
        return
    tag = f"orca-stage-{secrets.token_hex(8)}"
    watch = Watch(spark, stage, tag)
    context.addJobTag(tag)
    watch.begin()
    try:
        yield watch
    finally:
        watch.end()
        # The session may have been stopped meanwhile; the user must see that error.
        if context._jsc is not None:
            with contextlib.suppress(*spark_errors()):
                context.removeJobTag(tag)
