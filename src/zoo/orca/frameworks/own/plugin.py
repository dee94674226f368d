"""The plug-in that calls a user's own function on every worker."""

import os
import time
from collections.abc import Callable
from typing import Any

from zoo.orca.errors import OrcaError, PeerLostError
from zoo.orca.frameworks.own.plain import state_of
from zoo.orca.frameworks.own.process_group import has_group, is_connections, leave_group
from zoo.orca.frameworks.own.rows import WorkerRows
from zoo.orca.frameworks.own.worker import Worker, explained
from zoo.orca.frameworks.settings.fresh import renew_settings
from zoo.orca.wire.job import Job, LoopJob
from zoo.orca.wire.packing import State, unpack
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Ring
from zoo.orca.worker.plugin import Keep, Rows, World

#: The seconds in which a peer's end is seen here after the end of its connections in PyTorch.
_NOTICE_SECONDS = 2.0
#: What TensorFlow reads; for its estimators, its plug-in sets threads by TensorFlow's own calls.
_TENSORFLOW_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class Own:
    """Implements `zoo.orca.worker.plugin.OwnLoop`."""

    def __init__(self) -> None:
        self._function: Callable[..., Any] | None = None
        self._arguments: dict[str, Any] = {}

    def prepare(self, job: Job, threads: int) -> None:
        """Restore the settings of frameworks that this process has imported; import none.

        The environment says how many threads they start.
        """
        renew_settings()
        for name in _TENSORFLOW_THREADS:
            os.environ.setdefault(name, str(threads))

    def make(self, job: Job) -> None:
        """Unpack the function, so that a module that is missing is told of before rows move."""
        self._function = unpack(job.model.creator)
        self._arguments = unpack(job.model.config)

    def run(self, job: LoopJob, data: Rows | None, world: World, keep: Keep | None) -> State | None:
        """Call the function; all ranks leave together."""
        function = self._function
        if function is None:
            raise RuntimeError("run was called before make")
        rows = None if data is None else WorkerRows(data, world.rank)
        restored = None if job.state is None else State.from_bytes(job.state)
        worker = Worker(world.collective, rows, world.report, keep, restored, job.gpus)
        try:
            found = function(worker, **self._arguments)
        except BaseException as error:
            _leave(world.collective, error, worker.has_met or has_group())
            raise
        # Peers inside one of the group's operations learn that this rank has left it.
        leave_group(failed=False)
        worker.end_report()
        # Before the end: what cannot travel is an error of this rank, and not of its peers.
        returned = state_of(found, "what train returned") if world.rank == 0 else None
        if isinstance(world.collective, Ring):
            try:
                world.collective.end()
            except PeerLostError as error:
                raise explained(error, world.rank) from error.__cause__
        return returned


def _leave(collective: Collective, error: BaseException, has_met: bool) -> None:
    """Leave the others after an error; raise what it comes from, if that is a peer's doing.

    PyTorch says of a peer that has failed no more than that a connection was closed. It can say so
    only if the function `has_met` its peers there.
    """
    cause = None
    if isinstance(collective, Ring):
        if has_met and is_connections(error):
            cause = _cause(collective)
        # Not closed in order: peers that wait in the group must see that this rank has failed.
        collective.abort(f"its function raised {type(error).__name__}")
    leave_group(failed=True)
    if cause is not None:
        raise cause from error


def _cause(ring: Ring) -> OrcaError | None:
    """Return what a peer has done, if one has failed or returned; this ring ends with it."""
    ring.timeout = _NOTICE_SECONDS
    began = time.monotonic()
    try:
        ring.barrier()
    except PeerLostError as error:
        if time.monotonic() - began < _NOTICE_SECONDS:
            return explained(error, ring.rank)
    return None


def framework() -> Own:
    """Return the plug-in."""
    return Own()
