"""What went wrong, in one error: the cause among the failures, Spark's own in plain words."""

import re
from typing import NoReturn

from zoo.orca.errors import OrcaError, SlotsError, WorkerError, error_class
from zoo.orca.wire.job import Failure

_NOISE = re.compile(r"^(org\.apache\.spark\.)?(\w+\.)*\w*(Exception|Error): ")


def raise_failure(failures: list[Failure]) -> NoReturn:
    """Raise the cause among `failures` as an error of `zoo.orca.errors`.

    A worker that lost a peer fails because the peer did, so it is only named when nothing else is.
    """
    causes = [failure for failure in failures if failure.error != "PeerLostError"]
    cause = min(causes or failures, key=lambda failure: failure.rank)
    kind = error_class(cause.error)
    if issubclass(kind, WorkerError):
        raise kind(
            _describe(cause),
            rank=cause.rank,
            host=cause.host,
            remote_traceback=cause.traceback,
            log=cause.log,
        )
    raise kind(cause.message)


def _describe(cause: Failure) -> str:
    parts = [f"rank {cause.rank} on {cause.host}: {cause.message}"]
    if cause.traceback:
        parts.append(f"On the worker:\n{cause.traceback.rstrip()}")
    if cause.log:
        lines = "\n".join(f"  {line}" for line in cause.log)
        parts.append(f"The last lines it printed:\n{lines}")
    return "\n\n".join(parts)


def translate(error: Exception, workers: int) -> OrcaError:
    """Return the error that a failed Spark job means to the user."""
    text = str(error)
    if "SPARK-24819" in text or "BARRIER" in text.upper() and "SLOTS" in text.upper():
        return SlotsError(
            f"Spark cannot run {workers} workers at the same time: fewer slots are free. Ask for "
            "fewer workers (num_workers), or give the cluster more cores"
        )
    return WorkerError(f"Spark could not finish the stage: {_root(text)}")


def _root(text: str) -> str:
    """Return the innermost cause's own sentence of a Java stack trace."""
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith(("at ", "..."))]
    causes = [number for number, line in enumerate(told) if line.startswith("Caused by: ")]
    if not causes:
        return _NOISE.sub("", " ".join(told[:3]))[:1000]
    innermost = [line.removeprefix("Caused by: ") for line in told[causes[-1] :]]
    # Of a barrier task that failed, Spark says so in a sentence and quotes the exception below it.
    quoted = [line for line in innermost if _NOISE.match(line)]
    return _NOISE.sub("", quoted[-1] if quoted else innermost[0])[:1000]
