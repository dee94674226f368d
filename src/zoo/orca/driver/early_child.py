"""A child that imports its framework while Spark still comes to its task, in local mode.

Spark takes a second or two to plan a session's first stage and to start its first Python worker,
and leaves processors idle meanwhile. Where that worker will run on this machine, the driver starts
its child, in the surroundings that the worker will have. The task takes it over through a socket,
or starts one of its own if anything is in the way.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import sys
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.spark_failures import spark_errors
from zoo.orca.driver.session.cluster import is_local, is_one_process
from zoo.orca.errors import OrcaError
from zoo.orca.wire.job import Job, LoopJob
from zoo.orca.wire.messages.pipe import Prepare
from zoo.orca.wire.processors import usable_processors
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.neighbours import Neighbours
from zoo.orca.worker.task.starting import Surroundings, start
from zoo.orca.worker.task.threads import Threads, threads_for
from zoo.orca.worker.task.warm_children import EARLY_SECONDS, WarmChildren

if TYPE_CHECKING:  # a Python that has Spark Connect alone has no contexts
    from pyspark import SparkContext

#: Contexts whose first stage has begun: later ones find children of earlier ones.
_begun: weakref.WeakSet[SparkContext] = weakref.WeakSet()


@contextlib.contextmanager
def early_child(spark: SparkSession, job: Job, workers: int) -> Iterator[str]:
    """Start the child of a session's first stage; yield the name of the door that has it, or none.

    Only for one worker: several imports at once would take the processors from Spark.
    """
    threads = _threads(spark, job, workers)
    if threads is None:
        yield ""
        return
    warm = WarmChildren(EARLY_SECONDS)
    door = Neighbours(os.urandom(16).hex(), warm.give, warm.given)
    try:
        # Without it the job runs as well, only not as soon.
        with contextlib.suppress(OSError, OrcaError, *spark_errors()):
            if door.name:
                warm.release(_started(spark.sparkContext, job, threads))
        yield door.name
    finally:
        door.close()
        warm.stop()


def _threads(spark: SparkSession, job: Job, workers: int) -> Threads | None:
    """Return the threads of a child that is to be started early; None if there is to be none."""
    is_here = is_local(spark) and is_one_process(spark)
    if workers != 1 or not is_here or job.gpus or isinstance(job, LoopJob):
        return None
    context = spark.sparkContext
    first = context not in _begun
    _begun.add(context)
    python = shutil.which(context.pythonExec)
    # What Spark's workers have, and this process cannot give: another Python, files, a limit.
    other = python is None or os.path.abspath(python) != os.path.abspath(sys.executable)
    limited = context.getConf().contains("spark.executor.pyspark.memory")
    if not first or other or limited or context._python_includes:
        return None
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
