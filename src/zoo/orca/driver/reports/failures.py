"""Turns failures into one error: the cause among the workers', or Spark's in plain words."""

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.spark_failures import (
    Kind,
    SparkFailure,
    raised_by_orca,
    read_error,
    spark_errors,
)
from zoo.orca.driver.session import pythons
from zoo.orca.driver.session.cluster import is_connect, is_stopped
from zoo.orca.driver.session.pythons import own_versions
from zoo.orca.driver.session.shipping import way_to_ship
from zoo.orca.errors import (
    ContextError,
    CreatorError,
    OrcaError,
    ShardError,
    SlotsError,
    WorkerDiedError,
    WorkerError,
    error_class,
)
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.modules import is_own_name

#: Added to the error of a call that did not finish.
_AS_BEFORE = "The estimator is as it was before this call"
_DIED = (
    "a Python process of Spark's was killed, or crashed: most often the machine or container "
    "ran out of memory\n"
    "Give it more memory, or find out where it crashed: "
    "spark.python.worker.faulthandler.enabled=true"
)
#: The way out of a session that ended.
_ANEW = "Start a session, init_orca_context(...), make the DataFrame anew in it, and call again"


def check_session(spark: SparkSession) -> None:
    """Raise `ContextError` if the session was stopped."""
    if is_stopped(spark):
        raise ContextError(f"the DataFrame's Spark session was stopped\n{_ANEW}")


def ended_session(error: Exception, spark: SparkSession) -> OrcaError | None:
    """Return the error for a session that ended in mid-call; None if it has not."""
    if isinstance(error, spark_errors()) and read_error(error).kind is Kind.LOST:
        return translate(error, 0, spark)
    if is_stopped(spark):
        ended = ContextError(f"the DataFrame's Spark session was stopped\n{_ANEW}. {_AS_BEFORE}")
        ended.traceback = str(error)
        return ended
    return None


def raise_failure(failures: list[Failure]) -> NoReturn:
    """Raise the cause among `failures` as an error of `zoo.orca.errors`.

    A worker that lost a peer fails because the peer did. It is named only if there is no other.
    """
    causes = [failure for failure in failures if failure.error != "PeerLostError"]
    cause = min(causes or failures, key=lambda failure: failure.rank)
    kind = error_class(cause.error)
    module = cause.module
    error: OrcaError
    if is_own_name(module):
        error = CreatorError(
            f"the workers have no module {module!r}, which is imported there\n"
            f"Send it along: {way_to_ship(module)}; or install it there with pip"
        )
    elif issubclass(kind, WorkerError):
        error = kind(_describe(cause), rank=cause.rank, host=cause.host, log=cause.log)
    else:
        error = kind(cause.message)
    error.traceback = cause.traceback
    raise error


def _describe(cause: Failure) -> str:
    parts = [f"rank {cause.rank} on {cause.host}: {cause.message}"]
    if cause.where:
        parts.append(cause.where)
    if differing := _differing(cause.versions):
        parts.append(f"Versions differ between the worker and here: {differing}")
    if cause.log:
        lines = "\n".join(f"  {line}" for line in cause.log)
        parts.append(f"\nThe last lines it printed:\n{lines}")
    return "\n".join(parts)


def _differing(theirs: dict[str, str]) -> str:
    """Say which packages have another version on the worker."""
    told = []
    for name, version in theirs.items():
        own = own_versions(name)
        if own and version not in own:
            told.append(f"{name} {version} and {' or '.join(sorted(own))}")
    return ", ".join(told)


def translate(
    error: Exception,
    workers: int,
    spark: SparkSession,
    first_lost: Callable[[], tuple[int, str] | None] = lambda: None,
) -> OrcaError:
    """Return the user's error for a failed Spark job; Spark's text becomes its traceback.

    Parameters
    ----------
    error : Exception
    workers : int
    spark : SparkSession
    first_lost : callable
        Returns the rank, and its host, whose connection to the driver broke first, if any did.
    """
    failure = read_error(error)
    if failure.kind is not Kind.LOST and is_stopped(spark):
        # Then Spark's words depend on how far the job was.
        failure = replace(failure, kind=Kind.STOPPED)
    if failure.kind is Kind.DIED and (lost := first_lost()) is not None:
        rank, host = lost
        died: OrcaError = WorkerDiedError(f"rank {rank} on {host}: {_DIED}", rank=rank, host=host)
        died.traceback = str(error)
        return died
    if (own := raised_by_orca(str(error))) is not None:  # by a task of `predict`
        told = error_class(own[0])(own[1])
        told.traceback = str(error)
        return told
    translated = _TRANSLATIONS[failure.kind](failure, workers, spark)
    translated.traceback = str(error)
    return translated


def _slots(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return SlotsError(
        f"Spark cannot run {workers} workers at the same time: fewer slots are free\n"
        "Ask for fewer workers (num_workers), or give the cluster more cores"
    )


def _shard(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return ShardError(failure.message)


def _no_such_python(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return pythons.cannot_start(spark, failure.message)


def _other_python(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return pythons.other_version(spark, failure.message)


def _broken_python(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return pythons.cannot_start(spark, "", failure.message)


def _module(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    name = failure.message.partition(".")[0]
    if is_own_name(name):
        return WorkerError(
            f"the workers have no module {name!r}, which a Python function of the DataFrame uses\n"
            f"Send it along: {way_to_ship(name)}; or install it there with pip"
        )
    python = pythons.ask_worker(spark)
    packages = python.lacks if python is not None and name in python.lacks else (name,)
    return pythons.lacks_packages(spark, python, packages)


def _package(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return pythons.unfit_package(spark, pythons.ask_worker(spark), failure.message)


def _function(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    if not failure.detail:  # code of Orca or Spark raised in the task
        return _spark(failure, workers, spark)
    return WorkerError(
        f"a Python function of the DataFrame failed: {failure.message}\n{failure.detail}"
    )


def _died(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return WorkerDiedError(_DIED)


def _cancelled(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return WorkerError(f"the job was cancelled in Spark: {failure.message}\n{_AS_BEFORE}")


def _stopped(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return ContextError(f"the Spark session was stopped while the job ran\n{_ANEW}. {_AS_BEFORE}")


def _lost(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    server = "the Spark Connect server" if is_connect(spark) else "Spark's JVM"
    return ContextError(
        f"the connection to {server} was lost: {failure.message}\n{_ANEW}. {_AS_BEFORE}"
    )


def _disk(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    return WorkerError(
        f"Spark cannot write its temporary files: {failure.message}\n"
        "Let spark.local.dir name a disk with more room, or one that it may write to, before the "
        "session starts, or where executors have their own (SPARK_LOCAL_DIRS, YARN's local-dirs) "
        "those"
    )


def _spark(failure: SparkFailure, workers: int, spark: SparkSession) -> OrcaError:
    detail = f"\n{failure.detail}" if failure.detail else ""
    return WorkerError(f"Spark could not finish the stage: {failure.message}{detail}")


_TRANSLATIONS: dict[Kind, Callable[[SparkFailure, int, SparkSession], OrcaError]] = {
    Kind.SLOTS: _slots,
    Kind.SHARD: _shard,
    Kind.NO_SUCH_PYTHON: _no_such_python,
    Kind.OTHER_PYTHON: _other_python,
    Kind.BROKEN_PYTHON: _broken_python,
    Kind.MODULE: _module,
    Kind.PACKAGE: _package,
    Kind.FUNCTION: _function,
    Kind.DIED: _died,
    Kind.CANCELLED: _cancelled,
    Kind.STOPPED: _stopped,
    Kind.LOST: _lost,
    Kind.DISK: _disk,
    Kind.SPARK: _spark,
}
