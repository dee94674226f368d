"""The barrier task: rendezvous, spool, child, result rows.

A task never raises for an error on its worker. It returns the failure as a row, like any other
result. So the stage ends once as a whole, Spark does not retry a permanent failure, and the driver
can tell cause from consequence. Only a lost executor is left to Spark, because only Spark sees it.
"""

import contextlib
import os
import pickle
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark import __version__ as VERSION
from pyspark.sql.pandas.types import from_arrow_schema

from zoo.orca.errors import DeviceError, OrcaError, PeerLostError, WorkerError
from zoo.orca.wire.job import Job, LoopJob, StepwiseJob, TrainJob
from zoo.orca.wire.messages.pipe import Address, Connect, Listening, RunJob, Start
from zoo.orca.wire.messages.results import Failure, Outcome, Result
from zoo.orca.wire.messages.rows import DataSet, Spooled
from zoo.orca.wire.packing import split
from zoo.orca.wire.processors import usable_processors
from zoo.orca.wire.report import ReportTo
from zoo.orca.worker.plain_words import MORE_MEMORY
from zoo.orca.worker.rows.arrays import from_bytes, from_numbers
from zoo.orca.worker.rows.files import writing
from zoo.orca.worker.rows.spool import Spool
from zoo.orca.worker.task import warm_children as children
from zoo.orca.worker.task.at_work import AtWork
from zoo.orca.worker.task.child_process import Child
from zoo.orca.worker.task.devices import device_environment, gpu_addresses
from zoo.orca.worker.task.readers import forgive_gone_readers
from zoo.orca.worker.task.rendezvous import Attempt, Rendezvous
from zoo.orca.worker.task.reporting import Reporter
from zoo.orca.worker.task.threads import Threads, threads_for
from zoo.orca.worker.temporary import local_directory

#: A task's result rows: first a message, then the pieces of the state, if any.
_ARROW_SCHEMA = pa.schema(
    [
        ("rank", pa.int32()),
        ("piece", pa.int32()),
        ("header", pa.string()),
        ("payload", pa.binary()),
    ]
)
#: Not a text, because the first one that a session parses takes a third of a second.
RESULT_SCHEMA = from_arrow_schema(_ARROW_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What every task of a stage receives beside its job.

    Parameters
    ----------
    secret : bytes
        Known only to the tasks of this stage.
    identity : str
        The stage's certificate and key (`zoo.orca.encryption`); empty: links are in clear.
    report_to : ReportTo or None
        Where progress goes.
    heartbeat : float
        Seconds of silence after which a child counts as frozen.
    connect_timeout : float
        Seconds within which all peers must have connected.
    executor_cores : int
        Cores of one executor if the cluster says so, else 0: all cores of the host.
    log_to_driver : bool
    cpu_binding : bool
        Whether each worker keeps to its own cores.
    workers : int
        The number of tasks that the stage must have; 0: any number.
    early : str
        Where a child is that was started before; empty: nowhere.
    """

    secret: bytes = field(repr=False)
    identity: str = field(default="", repr=False)
    report_to: ReportTo | None = None
    heartbeat: float = 60.0
    connect_timeout: float = 60.0
    executor_cores: int = 0
    log_to_driver: bool = True
    cpu_binding: bool = False
    workers: int = 0
    early: str = ""


def make_task(
    job: bytes, options: TaskOptions
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for ``mapInArrow(..., barrier=True)`` that runs the pickled `job`."""

    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        forgive_gone_readers()
        return _Task(pickle.loads(job), options).run(batches)

    return task


class _Task:
    """One worker's part of a stage, from its first event to its last row."""

    def __init__(self, job: Job, options: TaskOptions) -> None:
        context = BarrierTaskContext.get()
        self._rank = context.partitionId()
        self._places = [info.address for info in context.getTaskInfos()]
        self._host = self._places[self._rank].rsplit(":", 1)[0]
        self._options = options
        self._job = job
        self._at_work = AtWork(context.stageId(), self._rank)
        self._threads = self._share_of_threads()
        self._reporter = Reporter(options.report_to, self._rank, self._host)
        attempt = Attempt(
            stage=context.stageId(),
            task=context.taskAttemptId(),
            size=len(self._places),
        )
        self._rendezvous = Rendezvous(
            context.allGather, self._reporter, attempt, options.connect_timeout
        )
        self._introduced: _ChildRendezvous | None = None
        self._directory = ""

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Run the job and yield its result rows."""
        child: Child | None = None
        try:
            child, outcome = self._run_child(batches)
            child.last_words()  # a released child's lines are shown nowhere
            self._release(child)
            yield from self._rows(outcome, outcome.state)
        except _ChildFailed as failed:
            yield from self._rows(failed.failure)
        except OrcaError as error:
            yield from self._rows(self._failure(error))
        finally:
            if self._introduced is not None:
                self._introduced.close()
            self._reporter.close()
            self._at_work.close()

    def _run_child(self, batches: Iterator[pa.RecordBatch]) -> tuple[Child, Outcome]:
        if len(self._places) < self._options.workers:
            # Spark kept another worker's message from an attempt that it has since restarted.
            error = PeerLostError(
                f"a worker was lost, and Spark runs {len(self._places)} of {self._options.workers} "
                "again without the others\nCall again"
            )
            raise _ChildFailed(replace(self._failure(error), incomplete=True))
        child = self._acquired()
        child.noise = self._job.noise
        child.on_progress = self._reporter.send
        if self._options.log_to_driver:
            child.on_log = self._reporter.log
        try:
            try:
                return child, self._converse(child, batches)
            finally:
                # Before anything else: a child that is gone, or is killed next, removes nothing,
                # and Spark may kill this process while it hands over its rows.
                shutil.rmtree(self._directory, ignore_errors=True)
        except _ChildFailed as failed:
            self._release(child)
            failure = replace(
                failed.failure,
                rank=self._rank,
                host=self._host,
                log=child.last_words(),
                versions={**failed.failure.versions, "pyspark": VERSION},
            )
            raise _ChildFailed(failure) from failed
        except OrcaError as error:
            child.kill()  # and its last lines are here
            raise _ChildFailed(self._failure(error, tuple(child.log))) from error
        except MemoryError as error:
            child.kill()
            told = WorkerError(f"Spark's Python process ran out of memory: {error}\n{MORE_MEMORY}")
            raise _ChildFailed(self._failure(told, tuple(child.log))) from error
        except BaseException:
            # The rows themselves failed, and Spark is about to kill this process.
            child.kill()
            raise

    def _converse(self, child: Child, batches: Iterator[pa.RecordBatch]) -> Outcome:
        # Made only when the child knows of it. Spark may kill this process at any time, and then
        # the child removes the directory.
        self._directory = os.path.join(local_directory(), f"orca-{secrets.token_hex(8)}")
        child.send(
            RunJob(
                directory=self._directory,
                host=self._host,
                rank=self._rank,
                size=len(self._places),
                cpus=self._cpus(),
                threads=self._threads.count,
                job=pickle.dumps(self._job),
            ),
            heartbeat=self._options.heartbeat,
        )
        with writing(os.path.dirname(self._directory)):
            os.mkdir(self._directory, mode=0o700)
        if self._rank == 0 and isinstance(self._job, TrainJob) and self._job.asks:
            send = partial(child.send, heartbeat=self._options.heartbeat)
            self._reporter.hand_decisions_to(send)
        introduced = _ChildRendezvous(self._rendezvous, child, self._options)
        self._introduced = introduced
        self._reporter.phase("moving rows")
        began = time.perf_counter()
        spooled = self._spooled(batches, child)
        moved = time.perf_counter() - began
        introduced.end()
        child.send(Start(spooled=spooled, moved=moved), heartbeat=self._options.heartbeat)
        message = child.wait(Outcome, Failure, heartbeat=self._options.heartbeat)
        if isinstance(message, Failure):
            raise _ChildFailed(message)
        return message

    def _spooled(self, batches: Iterator[pa.RecordBatch], child: Child) -> Spooled:
        """Write the rows as they arrive; their own errors are Spark's to tell."""
        if isinstance(self._job, StepwiseJob) and self._job.creator is not None:
            for _ in batches:  # only the number of the partitions counts
                pass
            return Spooled(train=DataSet(rows=0, file=""))
        spool = Spool(self._directory, self._job.columns, self._validates())
        for batch in batches:
            with writing(os.path.dirname(self._directory)):
                spool.add(batch)
            if child.failed:  # a missing framework need not wait for all rows
                break
        with writing(os.path.dirname(self._directory)):
            return spool.finish()

    def _validates(self) -> bool:
        return isinstance(self._job, TrainJob) and self._job.validate

    def _failure(self, error: BaseException, log: tuple[str, ...] = ()) -> Failure:
        trace = "".join(traceback.format_exception(error))
        return Failure(
            error=type(error).__name__,
            message=str(error),
            rank=self._rank,
            host=self._host,
            traceback=trace,
            log=log,
        )

    def _rows(self, result: Result, state: bytes = b"") -> Iterator[pa.RecordBatch]:
        for piece, payload in enumerate(split(state)):
            text = result.to_text().encode() if piece == 0 else None
            arrays = [
                from_numbers(np.array([self._rank], np.int32)),
                from_numbers(np.array([piece], np.int32)),
                from_bytes(text, pa.string()),
                from_bytes(payload, pa.binary()),
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW_SCHEMA)

    def _neighbours(self) -> list[int]:
        """Return the ranks that share this worker's cores, itself included."""
        mine = self._places[self._rank]
        if self._options.executor_cores:
            return [rank for rank, place in enumerate(self._places) if place == mine]
        hosts = [place.rsplit(":", 1)[0] for place in self._places]
        return [rank for rank, host in enumerate(hosts) if host == self._host]

    def _share_of_threads(self) -> Threads:
        cores = self._options.executor_cores or len(usable_processors())
        workers = len(self._neighbours())
        alone = max(1, cores // workers)
        count = max(1, cores // (workers + self._at_work.others()))
        return threads_for(self._job, count, alone)

    def _acquired(self) -> Child:
        """Return a child; without one, tell the others that they need not wait for it."""
        try:
            early = self._options.early
            return children.acquire(self._environment(), self._threads, early=early)
        except (OrcaError, OSError) as error:
            # The others wait to hear from every task. If they do not come, this is still the cause.
            with contextlib.suppress(PeerLostError):
                self._rendezvous.meet(None, lambda addresses: None)
            if isinstance(error, DeviceError):
                raise DeviceError(f"rank {self._rank} on {self._host}: {error}") from error
            if isinstance(error, OrcaError):
                raise
            raise WorkerError(
                f"the worker's process cannot be started: {error}\n"
                "Give the executor's account more processes, files (ulimit -u, -n) or memory"
            ) from error

    def _release(self, child: Child) -> None:
        """Keep a child warm, unless a user's own loop ran in it.

        Such a loop uses libraries that know once for all which rank of how many their process is.
        """
        self._reporter.hand_decisions_to(None)  # the next job has its own
        if isinstance(self._job, LoopJob):
            child.kill()
        else:
            children.release(child)

    def _environment(self) -> dict[str, str]:
        place = self._neighbours().index(self._rank)
        return {
            **self._job.environment,
            **device_environment(self._job.gpus, gpu_addresses(), place, os.environ),
        }

    def _cpus(self) -> tuple[int, ...]:
        """Return the processors of this worker alone; none if it shares them all."""
        if not self._options.cpu_binding:
            return ()
        cpus = usable_processors()
        threads = self._threads.count
        first = self._neighbours().index(self._rank) * threads
        mine = {cpus[i % len(cpus)] for i in range(first, first + threads)}
        return tuple(sorted(mine))


class _ChildFailed(Exception):
    """The child reported a failure, or it ended in one."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _ChildRendezvous:
    """The child's part in the rendezvous, in a thread while rows are spooled."""

    def __init__(self, rendezvous: Rendezvous, child: Child, options: TaskOptions) -> None:
        self._rendezvous, self._child, self._options = rendezvous, child, options
        self._error: Exception | None = None
        self._told = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return once the child has the peers' addresses; raise any error of this thread."""
        if not self._told.wait(self._rendezvous.limit + self._options.heartbeat):
            raise PeerLostError("the workers' addresses did not come")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait until Spark may see the task end."""
        self._thread.join(self._rendezvous.limit + self._options.heartbeat)

    def _run(self) -> None:
        try:
            self._rendezvous.meet(self._listening(), self._tell)
        except Exception as error:  # any error of Spark's own calls must reach the task
            self._error = self._error or error
        finally:
            self._told.set()

    def _listening(self) -> Address | None:
        """Return the child's listening address; None, with the error kept, if it did not start."""
        try:
            listening = self._child.wait(Listening, Failure, heartbeat=self._options.heartbeat)
        except OrcaError as error:
            self._error = error
            return None
        if isinstance(listening, Failure):
            self._error = _ChildFailed(listening)
            return None
        return listening.address

    def _tell(self, addresses: Sequence[Address | None]) -> None:
        """Send the peers' addresses to the child; any thread, which no error here may end."""
        try:
            self._send(addresses)
        except OrcaError as error:
            self._error = self._error or error
        finally:
            self._told.set()

    def _send(self, addresses: Sequence[Address | None]) -> None:
        if None in addresses and len(addresses) > 1:  # a single worker need not listen
            raise PeerLostError(f"rank {addresses.index(None)} did not come up")
        connect = Connect(
            addresses=tuple(addresses),
            timeout=self._options.connect_timeout,
            secret=self._options.secret,
            identity=self._options.identity,
        )
        self._child.send(connect, heartbeat=self._options.heartbeat)
