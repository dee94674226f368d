"""What a call leaves where its checkpoints are: its record, and in the end its state."""

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

from zoo.orca.driver.request import Request
from zoo.orca.driver.runs import FitRecord, begin, new_run, release, remove, sees
from zoo.orca.errors import OrcaError
from zoo.orca.files import check_writable, read_bytes, remove_directory, whole_path, writing
from zoo.orca.wire.job import KeptJob
from zoo.orca.wire.messages.results import Outcome
from zoo.orca.wire.packing import State
from zoo.orca.wire.saved.schema import read_state

_logger = logging.getLogger(__name__)


def check_place(job: KeptJob, request: Request) -> None:
    """Check that a call could begin its checkpoints, and leave nothing behind.

    Raises
    ------
    InvalidInputError
        If this machine cannot write to `model_dir`.
    """
    if not job.checkpoints or not job.model_dir or not sees(job.model_dir, request.frame):
        return
    # A new directory: that of a `fit` to go on with has checkpoints in it.
    probe = f"{_there(job.model_dir)}/{new_run('probe')}"
    try:
        check_writable(probe, "driver", model_dir=job.model_dir, host=_host())
    finally:
        with contextlib.suppress(OSError, OrcaError):
            remove_directory(probe)


def _there(directory: str) -> str:
    """Return a local directory, or the first one above it that is there already."""
    if "://" in directory:
        return directory.rstrip("/")
    path = Path(whole_path(directory))
    return str(next(one for one in (path, *path.parents) if one.exists()))


def _host() -> str:
    return f"{socket.gethostname()}, the driver's machine"


def state_of(outcome: Outcome) -> State:
    """Return the state from the result's rows, or from `model_dir` if it was too large."""
    if outcome.state_at:
        return read_state(read_bytes(outcome.state_at), outcome.state_at)
    return State.from_bytes(outcome.state)


@contextlib.contextmanager
def recorded(job: KeptJob, request: Request) -> Iterator[None]:
    """Note what a call is, where its checkpoints are; if it fails, say what it leaves behind."""
    if not job.checkpoints or not job.model_dir or not sees(job.model_dir, request.frame):
        yield
        return
    host = _host()
    if request.record is None:
        check_writable(job.checkpoints, "driver", model_dir=job.model_dir, host=host)
    else:
        # The record is the first file: whatever kills this process, it says whose the others are.
        with writing(job.model_dir, host):
            begin(job.checkpoints, request.record)
    try:
        yield
    except BaseException as error:
        left = _left_by(job, request.record)
        if left:
            error.add_note(f"{left} is a checkpoint: {request.title}(resume=True) goes on from it")
        raise


def _left_by(job: KeptJob, record: FitRecord | None) -> str:
    """Leave the newest checkpoint of a `fit` that failed to a later one; return where it is."""
    if record is None:
        remove_checkpoints(job, "the call has failed")
        return ""
    try:
        newest = release(job.checkpoints, record)
    except (OSError, OrcaError) as error:
        # Not raised: the cause is another error.
        _logger.warning("%s: %s\nRemove this directory by hand", job.checkpoints, error)
        return ""
    return f"{job.checkpoints}/{newest}" if newest else ""


def remove_checkpoints(job: KeptJob, when: str) -> None:
    """Remove what no restarted stage needs any more."""
    if not job.checkpoints:
        return
    try:
        remove(job.checkpoints)
    except (OSError, OrcaError) as error:
        # Not a Python warning: where those are errors, it would lose the finished training.
        _logger.warning(
            "%s, and its files in %s cannot be removed: %s\nRemove this directory by hand",
            when,
            job.checkpoints,
            error,
        )
