"""A session on a Spark Connect server elsewhere: no JVM here, and none is looked for.

This program then needs neither Java nor py4j: ``pyspark-client`` is enough.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.orca.errors import ContextError, MissingPackageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Seconds within which a server must answer. Spark's client alone would try for ten minutes.
_ANSWERS_WITHIN = 30.0


def connect(remote: str, conf: Mapping[str, str]) -> SparkSession:
    """Return a session on the server at `remote`, with these settings.

    Raises
    ------
    ContextError
        If this process has a session of classic Spark, or no server answers.
    MissingPackageError
        If packages are missing that Spark Connect needs.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    try:
        _await_server(remote)
        session = SparkSession.builder.remote(remote).getOrCreate()
        _set(session, conf)
    except ImportError as error:
        raise MissingPackageError(
            f"Spark Connect needs packages that are missing here: {_cause(error)}\n"
            "Install them: pip install 'zoo-orca[connect]'"
        ) from error
    except PySparkException as error:
        raise ContextError(
            f"there is no session on {_place(remote)}: {_cause(error)}\n"
            "Look at the URL, and at the server's log; a Spark of the same version is best"
        ) from error
    return session


def disconnect(session: SparkSession) -> None:
    """End a session on a server, which may be gone."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    if session.is_stopped:  # type: ignore[attr-defined]
        return
    # At the end of a program nobody waits ten minutes for a server that is gone.
    session.client.set_retry_policies([DefaultPolicy(max_retries=2)])
    session.stop()


def _await_server(remote: str) -> None:
    """Wait until the server at `remote` answers."""
    from pyspark.sql.connect.client import DefaultChannelBuilder

    channel = DefaultChannelBuilder(remote).toChannel()
    import grpc  # only now is it known to be there

    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWERS_WITHIN)
    except grpc.FutureTimeoutError as error:
        raise ContextError(
            f"no Spark Connect server answers at {_place(remote)} within {_ANSWERS_WITHIN:g} s\n"
            "Start one there, sbin/start-connect-server.sh, or name another: "
            'init_orca_context("connect", remote="sc://host:15002")'
        ) from error
    finally:
        channel.close()


def _set(session: SparkSession, conf: Mapping[str, str]) -> None:
    """Make settings in a session; say which of them the server keeps for itself."""
    from pyspark.errors import PySparkException

    kept = []
    for key, value in conf.items():
        try:
            session.conf.set(key, value)
        except PySparkException:  # one that only a server's start decides
            kept.append(key)
    if kept:
        warnings.warn(
            f"the Spark Connect server keeps its own {', '.join(kept)}: start the server with them "
            "(--conf)",
            stacklevel=5,
        )


def _place(remote: str) -> str:
    """Return a server's URL without what follows its port: a token is a secret."""
    return remote.partition("/;")[0].rstrip("/")


def _cause(error: Any) -> str:
    return str(error).strip().partition("\n")[0]
