"""One job in the child: its peers, its rows and its plug-in.

The order of events, with the task on the left and the child on the right::

    RunJob     -> binds its port
               <- Listening
    Connect    -> meets its peers in one thread while another imports the framework
    Start      -> agrees with its peers on row counts and shapes, runs the plug-in
               <- Outcome, or Failure

Between jobs the child waits. A lost peer ends the job at once.
"""

import contextlib
import gc
import importlib
import os
import sys
from dataclasses import replace
from typing import cast

from zoo.orca.wire.job import Job, LoopJob, PredictJob, TrainJob
from zoo.orca.wire.messages.pipe import HandedOver, Listening, Predict, Prepare, RunJob, Start
from zoo.orca.wire.messages.progress import Phase, Progress
from zoo.orca.wire.packing import unpack
from zoo.orca.worker.child.checkpoint import check_directory
from zoo.orca.worker.child.epochs import Asking
from zoo.orca.worker.child.jobs import run_job
from zoo.orca.worker.child.mailbox import Letters
from zoo.orca.worker.child.peers import Peers
from zoo.orca.worker.child.predicting import Kept, serve_predictions
from zoo.orca.worker.child.process_state import ProcessState
from zoo.orca.worker.child.processors import Processors
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.describing import describe
from zoo.orca.worker.describing import missing as _missing
from zoo.orca.worker.pipes import END_OF_HOLD, END_OF_LOG, Sender
from zoo.orca.worker.plugin import Framework, World
from zoo.orca.worker.temporary import remove_directory, remove_files
from zoo.orca.worker.timings import Stopwatch

#: Heartbeats between a peer's loss and the end of this process.
_PATIENCE_BEATS = 4
#: The modules of plug-ins that have a folder; the others are modules of their own name.
_PLUGINS = {name: f"{name}.plugin" for name in ("keras", "torch", "own")}


class Runner:
    """Runs jobs one after another; its state is what another thread reaches, and what is kept."""

    def __init__(self, sender: Sender, temporary: str = "") -> None:
        self._sender = sender
        self._temporary = temporary
        self._directory = ""
        self._peers: Peers | None = None
        self._collective: Collective | None = None
        self._beats_since_loss = 0
        self._processors = Processors()
        self._process = ProcessState()
        self._kept = Kept()

    def serve(self, message: RunJob | Predict, letters: Letters) -> None:
        """Run the job that `message` brings; answer `Outcome` or `Failure`, never raise.

        Parameters
        ----------
        message : RunJob or Predict
        letters : Letters
            The job's further messages.
        """
        try:
            if isinstance(message, RunJob):
                self._kept.forget()
                self._serve_job(message, letters)
            else:
                self._serve_predictions(message, letters)
        except BaseException as error:  # SystemExit from user code must not end a warm child
            _end_log()
            self._sender.send(describe(error))
        finally:
            self._close()
            remove_files(self._temporary)
            self._process.restore()

    def prepare(self, message: Prepare) -> None:
        """Import a framework before its job is there.

        If that fails, this process ends, and the job tells why in another one.
        """
        self._imported(cast(Job, unpack(message.job)), message.threads)

    def hand_over(self) -> None:
        """Say the last words to the task that hands this process over to another."""
        _end_log(END_OF_HOLD)
        self._sender.send(HandedOver(), last=True)

    def watch_peers(self) -> None:
        """End the job if a peer is lost while this rank computes; called from another thread.

        A collective operation notices the loss at once, but a rank may compute for an hour between
        two.
        """
        ring = self._collective
        lost = ring.lost_peer() if isinstance(ring, Ring) else None
        self._beats_since_loss = self._beats_since_loss + 1 if lost else 0
        if lost and self._beats_since_loss > _PATIENCE_BEATS:
            # The task may be killed before it could do this.
            remove_directory(self._directory)
            self._sender.send(describe(lost))
            # The main thread is inside the framework, and nothing else can stop it.
            os._exit(1)

    def _serve_predictions(self, message: Predict, letters: Letters) -> None:
        self._processors.bind([])
        serve_predictions(message, self._sender, letters, self._prepared, self._kept)

    def _prepared(self, job: PredictJob) -> Framework:
        """Return the plug-in with its framework imported, because a fresh process has it too."""
        return self._imported(job, job.threads)

    def _serve_job(self, message: RunJob, letters: Letters) -> None:
        job = cast(Job, unpack(message.job))
        self._directory = message.directory
        self._processors.bind(message.cpus)
        check_directory(job, message.rank, message.host)
        self._peers = Peers(message.host, message.rank, message.size)
        self._sender.send(Listening(address=self._peers.address))
        self._peers.begin(letters)
        timings = Stopwatch()
        if not isinstance(job, LoopJob):
            self._report(Phase(text=f"importing {job.model.framework}"))
        framework = self._imported(job, message.threads)
        timings.end("importing the framework")
        framework.make(job)
        timings.end("making the model")
        self._collective = self._peers.end()
        start = letters.take(Start)
        timings.end("waiting for rows and peers")
        timings.add("moving rows, beside the import", start.moved)
        wanted = isinstance(job, TrainJob) and job.profile
        world = World(
            collective=self._collective,
            report=self._report,
            timings=timings if wanted else None,
            rounds_gradients=isinstance(job, TrainJob) and job.rounds_gradients,
        )
        outcome = run_job(framework, job, start, world, Asking(self._report, letters))
        # Without the barrier, the closed socket of a rank that finishes early looks like a loss.
        self._collective.barrier()
        _end_log()
        self._sender.send(outcome if world.rank == 0 else replace(outcome, state=b""))

    def _imported(self, job: Job, threads: int) -> Framework:
        """Return the plug-in, its framework imported; note what the process is like without a job.

        An import makes a million objects that stay. To look through them for garbage, again and
        again as they grow, takes a quarter of TensorFlow's import.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            framework = load_framework(job)
            _prepare(framework, job, threads)
            if not gc.get_freeze_count():
                # Keras collects garbage before each job, and would look through them as well.
                gc.freeze()
        finally:
            if collects:
                gc.enable()
        self._process.note()
        return framework

    def _report(self, progress: Progress) -> None:
        self._sender.send(progress)

    def _close(self) -> None:
        self._collective = None
        peers, self._peers = self._peers, None
        if peers is not None:
            peers.abort()


def _end_log(mark: str = END_OF_LOG) -> None:
    """Mark the end of this job's output, or of all that the task reads."""
    log = f"{mark}\n"
    # User code may have closed the streams, or deleted them.
    streams = (getattr(sys, name, None) for name in ("stdout", "stderr"))
    for stream in filter(None, streams):
        try:
            stream.flush()
        except Exception as error:  # a user's stream may raise anything
            log = f"what was printed last may be lost: {type(error).__name__}\n{log}"
    with contextlib.suppress(OSError):
        # no limit: a thread of the task reads it all the time
        os.write(1, log.encode())


def load_framework(job: Job) -> Framework:
    """Return the plug-in that the job names."""
    name = job.model.framework
    try:
        module = importlib.import_module(f"zoo.orca.frameworks.{_PLUGINS.get(name, name)}")
    except ModuleNotFoundError as error:
        raise _missing(error, name) from error
    return cast(Framework, module.framework())


def _prepare(framework: Framework, job: Job, threads: int) -> None:
    try:
        framework.prepare(job, threads)
    except ModuleNotFoundError as error:
        raise _missing(error, job.model.framework) from error
