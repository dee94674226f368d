"""One job in the child: who the peers are, where the rows lie, which plug-in runs them.

The order of events, with the task on the left and the child on the right::

    job        -> binds its port
               <- listening
    connect    -> meets its peers in one thread while another imports the framework
    start      -> agrees with its peers on row counts and shapes, runs the plug-in
               <- done, or failed

Between jobs the child waits. A message "abort", or a peer that is lost, ends the job at once.
"""

import contextlib
import importlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from queue import Queue
from typing import Any, cast

from zoo.orca.errors import DataError, OrcaError, PeerLostError, UnevenRowsError
from zoo.orca.wire.faults import NO_ROWS, agree
from zoo.orca.wire.features import FeatureSpec, fill_shapes
from zoo.orca.wire.job import (
    BuildJob,
    EvaluateJob,
    Job,
    Progress,
    TrainJob,
)
from zoo.orca.wire.levels import levelled
from zoo.orca.wire.order import window_rows
from zoo.orca.wire.outputs import OutputSpec
from zoo.orca.wire.packing import unpack
from zoo.orca.wire.plan import Plan
from zoo.orca.worker.collective import Alone, Collective
from zoo.orca.worker.dataset import open_rows
from zoo.orca.worker.describing import describe
from zoo.orca.worker.describing import missing as _missing
from zoo.orca.worker.levelling import level
from zoo.orca.worker.pipes import END_OF_LOG, Message, Sender
from zoo.orca.worker.plugin import Evaluated, Framework, Rows, Trained, World
from zoo.orca.worker.predicting import serve_predictions
from zoo.orca.worker.process_state import ProcessState
from zoo.orca.worker.processors import Processors
from zoo.orca.worker.profile import Profile
from zoo.orca.worker.resume import Resumable
from zoo.orca.worker.ring import Listener, Ring
from zoo.orca.worker.temporary import remove_files

#: Rows of the fullest worker over those of the average one. All wait in each step for the one with
#: the largest share, so more than this costs a few epochs as much as to deal the rows anew.
_MOST_UNEVEN = 1.25
#: Beats of the heartbeat's thread between a peer's loss and this process's end.
_PATIENCE_BEATS = 4


class Runner:
    """Runs jobs one after another; the only state is what another thread must reach."""

    def __init__(self, sender: Sender, commands: "Queue[Message]", temporary: str = "") -> None:
        self._sender = sender
        self._temporary = temporary
        self._commands = commands
        self._meeting: _Meeting | None = None
        self._collective: Collective | None = None
        self._beats_since_loss = 0
        self._processors = Processors()
        self._process = ProcessState()

    def serve(self, message: Message) -> None:
        """Run the job that `message` brings; answer "done" or "failed", never raise."""
        handlers: dict[str, Callable[[Message], None]] = {
            "job": self._serve_job,
            "predict": self._serve_predictions,
        }
        handler = handlers.get(message.kind)
        if handler is None:  # an abort or a start that came after its job had failed
            return
        try:
            handler(message)
        except BaseException as error:  # SystemExit from user code must not end a warm child
            _end_log()
            self._sender.send("failed", **describe(error).to_json())
        finally:
            self._close()
            remove_files(self._temporary)
            self._process.restore()

    def abort(self) -> None:
        """End the job from another thread."""
        if self._meeting is not None:
            self._meeting.abort()
        if isinstance(self._collective, Ring):
            self._collective.abort()

    def watch_peers(self) -> None:
        """End the job if a peer is lost while this rank computes; called from another thread.

        Inside a collective the loss is noticed at once, but a rank may compute for an hour between
        two of them.
        """
        ring = self._collective
        lost = ring.lost_peer() if isinstance(ring, Ring) else None
        self._beats_since_loss = self._beats_since_loss + 1 if lost else 0
        if lost and self._beats_since_loss > _PATIENCE_BEATS:
            self._sender.send("failed", **describe(lost).to_json())
            # The main thread is inside the framework; there is no other way to stop it.
            os._exit(1)

    def _serve_predictions(self, message: Message) -> None:
        self._processors.bind([])
        serve_predictions(message, self._sender, self._commands, self._prepared)

    def _prepared(self, job: Job) -> Framework:
        """Return the plug-in, with its framework imported: that belongs to a fresh process."""
        framework = load_framework(job)
        _prepare(framework, job, World(Alone(), lambda progress: None))
        self._process.note()
        return framework

    def _serve_job(self, message: Message) -> None:
        values, job = message.values, cast(Job, unpack(message.blob))
        self._processors.bind(values["cpus"])
        self._meeting = _Meeting(values["host"], values["rank"], values["size"])
        self._sender.send("listening", address=self._meeting.address)
        self._meeting.begin(self._commands)
        world = World(Alone(), self._report)
        profile = Profile()
        framework = load_framework(job)
        self._report(Progress("phase", text=f"importing {job.model.framework}"))
        _prepare(framework, job, world)
        self._process.note()
        profile.end("importing the framework")
        framework.make(job)
        profile.end("making the model")
        self._collective = self._meeting.end()
        start = self._commands.get()
        if start.kind != "start":
            raise PeerLostError("the task ended this job")
        profile.end("waiting for rows and peers")
        profile.add("moving rows, beside the import", start.values["moved"])
        wanted = isinstance(job, TrainJob) and job.profile
        world = World(self._collective, self._report, profile=profile if wanted else None)
        done, blob = _RUN[type(job)](framework, job, start.values, world)
        # The barrier keeps an early finisher's closed socket from looking like a loss.
        self._collective.barrier()
        self._sender.send("done", blob if world.rank == 0 else b"", **done)

    def _report(self, progress: Progress) -> None:
        self._sender.send("progress", **asdict(progress))

    def _close(self) -> None:
        collective, self._collective = self._collective, None
        if collective is not None:
            collective.close()
        meeting, self._meeting = self._meeting, None
        if meeting is not None:
            meeting.abort()


def _end_log() -> None:
    """Mark the end of what this job prints; the user's code may have done anything to `sys`."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(OSError):
        os.write(1, f"{END_OF_LOG}\n".encode())


class _Meeting:
    """Meets the peers in a thread, so that the framework's import overlaps it."""

    def __init__(self, host: str, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._listener = Listener(host) if size > 1 else None
        self._thread: threading.Thread | None = None
        self._met: Collective | None = None
        self._error: Exception = PeerLostError("the peers were never met")

    @property
    def address(self) -> tuple[str, int] | None:
        """Where peers find this rank; None for a rank without peers."""
        return self._listener.address if self._listener else None

    def begin(self, commands: "Queue[Message]") -> None:
        """Wait for the peers' addresses and connect, in a thread."""
        self._thread = threading.Thread(target=self._meet, args=(commands,), daemon=True)
        self._thread.start()

    def end(self) -> Collective:
        """Return the collective once every peer is connected."""
        if self._thread is not None:
            self._thread.join()
        if self._met is None:
            raise self._error
        return self._met

    def abort(self) -> None:
        """Stop listening; whoever still connects is refused."""
        if self._listener is not None:
            self._listener.close()

    def _meet(self, commands: "Queue[Message]") -> None:
        message = commands.get()
        if message.kind != "connect":
            self._error = PeerLostError("the task ended this job")
        elif self._listener is None:
            self._met = Alone()
        else:
            addresses = [(host, port) for host, port in message.values["addresses"]]
            secret = bytes.fromhex(message.values["secret"])
            try:
                self._met = Ring.connect(
                    self._listener, self._rank, addresses, secret, timeout=message.values["timeout"]
                )
            except (OrcaError, OSError) as error:
                self._error = error


def load_framework(job: Job) -> Framework:
    """Return the plug-in that the job names."""
    name = job.model.framework
    try:
        module = importlib.import_module(f"zoo.orca.frameworks.{name}")
    except ModuleNotFoundError as error:
        raise _missing(error, name) from error
    return cast(Framework, module.framework())


def _prepare(framework: Framework, job: Job, world: World) -> None:
    try:
        framework.prepare(job, world)
    except ModuleNotFoundError as error:
        raise _missing(error, job.model.framework) from error


def _rows(job: Job, start: dict[str, Any], world: World) -> tuple[Rows, Rows | None]:
    """Agree with all ranks on counts and shapes and map this rank's files.

    Raises
    ------
    DataError
        The same on every rank, if any rank found rows that cannot be used.
    UnevenRowsError
        The same on every rank, if the job wants even rows and one rank has far too many.
    """
    told = world.collective.all_gather(json.dumps(start["spooled"]).encode())
    spooled = [json.loads(bytes(message)) for message in told]
    shapes, problem = agree(job.columns, spooled)
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    sets = []
    for kind, shuffle in (("train", isinstance(job, TrainJob)), ("validation", False)):
        counts = tuple(int(rank["rows"][kind]) for rank in spooled)
        if kind == "train" and not sum(counts):
            raise DataError(NO_ROWS)
        if job.even and max(counts) * len(counts) > _MOST_UNEVEN * sum(counts):
            raise UnevenRowsError(f"the workers have {list(counts)} rows")
        if sum(counts):
            sets.append(_set(job, start["files"][kind], spec, counts, shuffle, world))
    if isinstance(job, TrainJob) and job.validate and len(sets) == 1:
        raise DataError("validation_data has no rows\nLeave it out, or give it some")
    return sets[0], sets[1] if len(sets) > 1 else None


def _set(
    job: Job, path: str, spec: FeatureSpec, counts: tuple[int, ...], shuffle: bool, world: World
) -> Rows:
    """Return one data set as this rank has it in the end."""
    if job.level:
        rows = open_rows(path, spec, partial(level, counts=counts, collective=world.collective))
        counts = levelled(counts)
    else:
        rows = open_rows(path, spec)
    size = cast(Any, job).batch_size
    return Rows(spec, rows, Plan(counts, size, job.seed, shuffle, _window(job, spec, counts)))


def _window(job: Job, spec: FeatureSpec, counts: tuple[int, ...]) -> int | None:
    """Return the rows of a window; None where all workers' rows fit into the budget."""
    rows = window_rows(spec, job.data_memory) if job.data_memory else None
    return rows if rows is not None and rows < max(counts) else None


def _train(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    rows, validation = _rows(job, start, world)
    resumable = Resumable(cast(TrainJob, job), world)
    trained: Trained = framework.train(resumable.job, rows, validation, resumable.world)
    blob, path = resumable.finish(trained.state)
    profiles: list[Any] = []
    if world.profile is not None:
        world.profile.end("taking the state")
        told = world.collective.all_gather(json.dumps(world.profile.to_json()).encode())
        profiles = [json.loads(bytes(message)) for message in told]
    done = {
        "profiles": profiles,
        "history": resumable.whole(trained.history),
        **_learnt(rows.spec, trained.outputs),
        "rows": rows.plan.rows,
        "state_at": path,
    }
    return done, blob


def _evaluate(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    rows, _ = _rows(job, start, world)
    evaluated: Evaluated = framework.evaluate(cast(EvaluateJob, job), rows, world)
    learnt = _learnt(rows.spec, evaluated.outputs)
    return {"metrics": evaluated.metrics, **learnt, "rows": rows.plan.rows}, b""


def _build(
    framework: Framework, job: Job, start: dict[str, Any], world: World
) -> tuple[dict[str, Any], bytes]:
    spooled = start["spooled"]
    shapes, problem = agree(job.columns, [spooled])
    if problem:
        raise DataError(problem)
    spec = fill_shapes(job.columns, shapes)
    sample = open_rows(start["files"]["train"], spec) if spooled["rows"]["train"] else None
    built = framework.build(job, sample)
    return _learnt(spec, built.outputs), built.state.to_bytes()


def _learnt(spec: FeatureSpec, outputs: tuple[OutputSpec, ...]) -> dict[str, Any]:
    """Return what the driver keeps about the model, beside its state."""
    return {"columns": spec.to_json(), "outputs": [output.to_json() for output in outputs]}


_RUN: dict[type[Job], Callable[..., tuple[dict[str, Any], bytes]]] = {
    TrainJob: _train,
    EvaluateJob: _evaluate,
    BuildJob: _build,
}
