"""The session that a program works with, for all its threads.

Spark keeps the active session per thread, so a thread that the user starts has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.orca.context.ended import await_stop, lost_jvm, running_context

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession


@dataclass
class _Last:
    """The session that Orca started or adopted last."""

    session: SparkSession | None = None


_last = _Last()


def remember(session: SparkSession) -> None:
    """Note the session that Orca started or adopted."""
    _last.session = session


def known_session() -> SparkSession | None:
    """Return the session that Orca started or adopted; else the program's own, or None.

    This never starts a session.
    """
    from pyspark.sql import SparkSession

    if _last.session is not None and _is_running(_last.session):
        return _last.session
    # If none is active in this thread, a running context shows that there is one.
    await_stop()
    try:
        session = SparkSession.getActiveSession()
    except lost_jvm():
        return None
    if session is None and running_context() is not None:
        session = SparkSession.builder.getOrCreate()
    return session or remote_session()


def remote_session() -> SparkSession | None:
    """Return the session of this program on a Spark Connect server, made in any thread, if any."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession
    from pyspark.sql.utils import is_remote

    if not is_remote():
        return None
    try:
        return SparkSession.active()
    except PySparkRuntimeError:  # there is none
        return None


def context_of(session: SparkSession) -> SparkContext | None:
    """Return a session's SparkContext; None on Spark Connect."""
    from pyspark.sql.utils import is_remote

    return None if is_remote() else session.sparkContext


def _is_running(session: SparkSession) -> bool:
    """Whether a session has not been stopped."""
    context = context_of(session)
    if context is None:
        return not session.is_stopped  # type: ignore[attr-defined]
    try:
        return context._jsc is not None and not context._jsc.sc().isStopped()
    except lost_jvm():
        return False
