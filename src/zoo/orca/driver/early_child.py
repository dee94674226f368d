"""A child that imports its framework while Spark still comes to its task, in local mode.

Spark takes a second or two to plan a session's first stage and to start its first Python worker,
and leaves processors idle meanwhile. Where that worker will run on this machine, the driver starts
its child as soon as a call knows its framework, in the surroundings that the worker will have. The
task takes it over through a socket, or starts one of its own if anything is in the way.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_local, is_one_process
from zoo.orca.errors import OrcaError
from zoo.orca.wire.job import Job, LoopJob, PredictJob
from zoo.orca.wire.messages.pipe import Prepare
from zoo.orca.wire.processors import usable_processors
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.neighbours import Neighbours
from zoo.orca.worker.task.starting import Surroundings, start
from zoo.orca.worker.task.threads import Threads, threads_for
from zoo.orca.worker.task.warm_children import EARLY_SECONDS, WarmChildren

if TYPE_CHECKING:  # a Python that has Spark Connect alone has no contexts
    from pyspark import SparkContext

#: Seconds between two looks whether anybody still needs a child.
_LOOK_SECONDS = 1.0
#: Seconds that a child may take to end.
_END_SECONDS = 30.0


class EarlyChild:
    """A child on its way to a task, behind a door of this process.

    It ends if no task takes it: with the stage that it is for, or, where a prediction may never
    run, after `EARLY_SECONDS`; with the session in any case.

    Parameters
    ----------
    context : SparkContext
    job : Job
        Its state may be left out.
    threads : Threads
    """

    def __init__(self, context: SparkContext, job: Job, threads: Threads) -> None:
        self._context = weakref.ref(context)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._is_claimed = False
        self._until = time.monotonic() + EARLY_SECONDS
        self._warm = WarmChildren(EARLY_SECONDS)
        self._door = Neighbours(os.urandom(16).hex(), self._warm.give, self._given)
        self._watch = threading.Thread(target=self._end, daemon=True)
        try:
            if self._door.name:
                self._warm.release(_started(context, job, threads))
        finally:
            # Without a child, or after an interrupt, it ends at once.
            if not self._warm.idle:
                self._over.set()
            self._watch.start()

    @property
    def name(self) -> str:
        """The name of its door; empty once there is nothing behind it."""
        return "" if self._over.is_set() else self._door.name

    def claim(self) -> bool:
        """Keep the child until `close`, however long its stage takes; False if another one does."""
        with self._lock:
            is_free = not self._is_claimed and not self._over.is_set()
            self._is_claimed = self._is_claimed or is_free
        return is_free

    def close(self) -> None:
        """End the child, if no task has taken it."""
        self._over.set()
        self._watch.join(_END_SECONDS)

    def _given(self) -> None:
        self._warm.given()
        self._over.set()

    def _end(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            context = self._context()
            has_ended = context is None or context._jsc is None
            has_time = self._is_claimed or time.monotonic() < self._until
            if has_ended or not has_time:
                self._over.set()
        self._door.close()
        self._warm.stop()


#: The contexts that have had a call. Later ones find children of earlier ones.
_begun: weakref.WeakKeyDictionary[SparkContext, EarlyChild | None] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def begin(spark: SparkSession, job: Job, workers: int) -> None:
    """Start the child of a session's first call; do nothing in later ones.

    Only for one worker: several imports at once would take the processors from Spark.
    """
    is_here = is_local(spark) and is_one_process(spark)
    if workers != 1 or not is_here or job.gpus or isinstance(job, LoopJob):
        return
    context = spark.sparkContext
    with _lock:
        if context in _begun:
            return
        _begun[context] = None
    if _is_alike(context):
        # Without it the job runs as well, only not as soon.
        with contextlib.suppress(OSError, OrcaError, *spark_errors()):
            _begun[context] = EarlyChild(context, job, _threads(job))


def door(spark: SparkSession) -> str:
    """Return the name of the door where a lazy prediction finds a child, if there is one."""
    found = _early(spark)
    return "" if found is None else found.name


@contextlib.contextmanager
def early_child(spark: SparkSession, job: Job, workers: int) -> Iterator[str]:
    """Start the child of a session's first stage; yield the name of its door, or none."""
    begin(spark, job, workers)
    found = _early(spark)
    if found is None or not found.claim():
        yield ""
        return
    try:
        yield found.name
    finally:
        found.close()


def _early(spark: SparkSession) -> EarlyChild | None:
    return _begun.get(spark.sparkContext) if is_local(spark) else None


def _is_alike(context: SparkContext) -> bool:
    """Whether a child of this process is like one of Spark's Python workers."""
    python = shutil.which(context.pythonExec)
    # What Spark's workers have, and this process cannot give: another Python, files, a limit.
    other = python is None or os.path.abspath(python) != os.path.abspath(sys.executable)
    limited = context.getConf().contains("spark.executor.pyspark.memory")
    return not (other or limited or context._python_includes)


def _threads(job: Job) -> Threads:
    """Return the threads that the job's task will want."""
    if isinstance(job, PredictJob):
        return threads_for(job, job.threads or 1)
    return threads_for(job, max(1, len(usable_processors())))


def _started(context: SparkContext, job: Job, threads: Threads) -> Child:
    given = _surroundings(context)
    running = start(job.environment, threads.environment, given)
    child = Child(job.environment, threads, running)
    try:
        bare = pickle.dumps(replace(job, state=None))
        child.send(Prepare(threads=threads.count, job=bare), heartbeat=EARLY_SECONDS)
    except BaseException:  # an interrupt, above all: nobody else knows the child yet
        child.kill()
        raise
    return child


def _surroundings(context: SparkContext) -> Surroundings:
    """Return what Spark's Python workers have: what the JVM has had since its start, and more."""
    jvm = cast(Any, context._jvm)
    pid = jvm.java.lang.ProcessHandle.current().pid()
    process = Path("/proc", str(pid))
    pairs = (one.partition(b"=") for one in (process / "environ").read_bytes().split(b"\0"))
    variables = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name}
    directory = os.readlink(process / "cwd")
    told = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    added: Mapping[str, str] = context.environment
    added_files = jvm.org.apache.spark.SparkFiles.getRootDirectory()
    return Surroundings(
        # Where the session has its temporary files, which it removes.
        environment={**variables, **added, "SPARK_LOCAL_DIRS": os.path.dirname(added_files)},
        directory=directory,
        # Files that were added to the session may be modules.
        paths=[added_files, *(os.path.join(directory, path) for path in told)],
    )
