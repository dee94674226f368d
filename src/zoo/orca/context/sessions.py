"""The session that a program works with, which every thread of it finds.

Spark's active session is one of the thread's: it tells nothing in a thread of the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession


@dataclass
class _Last:
    """The session that Orca has started or adopted last."""

    session: SparkSession | None = None


_last = _Last()


def remember(session: SparkSession) -> None:
    """Note the session that Orca has started or adopted."""
    _last.session = session


def known_session() -> SparkSession | None:
    """Return the session that Orca has started or adopted; else the program's own, or None.

    Nothing is started for it.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if _last.session is not None and _is_running(_last.session):
        return _last.session
    # Where none is active in this thread, a running context tells of one. Over Connect there is no
    # context, and to ask for a session would start one.
    session = SparkSession.getActiveSession()
    if session is None and SparkContext._active_spark_context is not None:
        session = SparkSession.builder.getOrCreate()
    return session


def context_of(session: SparkSession) -> SparkContext | None:
    """Return a session's SparkContext; None on Spark Connect."""
    from pyspark.sql.utils import is_remote

    return None if is_remote() else session.sparkContext


def _is_running(session: SparkSession) -> bool:
    """Whether nobody has stopped a session yet."""
    context = context_of(session)
    return not session.is_stopped if context is None else context._jsc is not None  # type: ignore[attr-defined]
