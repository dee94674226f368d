"""The Spark session that Orca works on, and the options that go with it.

::

    init_orca_context -> SessionRequest -> clusters.plan_launch -> java.start_gateway -> session
                         arguments         Spark configuration     a quiet JVM

Orca adopts any active session. It stops only a session that it created.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.orca.context.class_archive import find_class_archive
from zoo.orca.context.clusters import Launch, plan_launch, requested_conf
from zoo.orca.context.connect import connect, disconnect
from zoo.orca.context.ended import abandon, await_stop, forget_jvm, lost_jvm, running_context
from zoo.orca.context.java import find_java, start_gateway
from zoo.orca.context.options import Options, warn_once
from zoo.orca.context.places import is_found, refuse_in_worker
from zoo.orca.context.request import DEFAULT_MEMORY, SessionRequest
from zoo.orca.context.sessions import context_of, remember, remote_session
from zoo.orca.encryption.choice import check_encryption
from zoo.orca.errors import ContextError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from zoo.orca.context.spark_context import OrcaSparkContext


@dataclass(kw_only=True)
class _State:
    """Everything this file remembers between calls."""

    own_session: SparkSession | None = None
    stops_at_exit: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


_state = _State()


def init_orca_context(
    cluster_mode: str = "local",
    cores: int | str | None = None,
    memory: str = DEFAULT_MEMORY,
    num_nodes: int = 1,
    init_ray_on_spark: bool = False,
    *,
    conf: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> OrcaSparkContext | SparkSession:
    """Start Spark, or adopt the session that is active.

    Parameters
    ----------
    cluster_mode : str
        ``"local"``, ``"standalone"``, ``"yarn"`` (or ``"yarn-client"``), ``"k8s"`` (or
        ``"k8s-client"``), ``"connect"``, or, for programs that ``spark-submit`` starts,
        ``"spark-submit"``, ``"yarn-cluster"`` or ``"k8s-cluster"``.
    cores : int, "*" or None
        Cores per node. None means every core of the machine in local mode, and 2 elsewhere.
    memory : str
        Memory per node: the driver's in local mode, an executor's elsewhere.
    num_nodes : int
        Executors; local mode is one node.
    init_ray_on_spark : bool
        Has no effect: Orca needs no Ray.
    conf : Mapping, optional
        Spark configuration; overrides what the other arguments set.
    **kwargs
        Further arguments of the mode. ``spark_log_level``, ``jars``, ``extra_python_lib``,
        ``python_location`` (the workers' Python); standalone: ``master``; YARN: ``hadoop_conf``,
        ``hadoop_user_name``, ``spark_yarn_archive``; Kubernetes: ``master``, ``container_image``;
        both: ``penv_archive``, ``additional_archive``; all clusters: ``driver_cores``,
        ``driver_memory``; Spark Connect: ``remote``, the server's URL, ``"sc://host:15002"``,
        which ``SPARK_REMOTE`` in the environment may name instead.

    Returns
    -------
    SparkContext
        The session's context. It has the methods of the session, too: ``.read``, ``.sql``,
        ``.createDataFrame``, ``.range``. A Spark Connect session has no context; the session
        itself is returned.

    Raises
    ------
    InvalidInputError
        For an unknown mode, an unknown argument or a value that makes no sense.
    ContextError
        If Java is missing, the cluster cannot be reached, or only ``spark-submit`` can start a
        program in this mode.
    """
    if init_ray_on_spark:
        kwargs["init_ray_on_spark"] = True
    request = _request(
        cluster_mode=cluster_mode,
        cores=cores,
        memory=memory,
        num_nodes=num_nodes,
        conf=conf or {},
        options=kwargs,
    )
    session = _session_for(request)
    context = context_of(session)
    if context is None:
        return session
    from zoo.orca.context.spark_context import OrcaSparkContext

    return OrcaSparkContext(context)


def stop_orca_context() -> None:
    """Stop the session that Orca started; an adopted one keeps running."""
    with _state.lock:
        session, _state.own_session = _state.own_session, None
        if session is not None and context_of(session) is None:
            disconnect(session)
        # Stopping a stopped session again would unregister the session that came after it.
        elif session is not None and session.sparkContext._jsc is not None:
            try:
                session.stop()
            except lost_jvm():  # ended, and the session with it
                forget_jvm()


def _request(**arguments: Any) -> SessionRequest:
    """Add to the arguments what this process knows."""
    return SessionRequest(
        python=sys.executable,
        python_from_environment=os.environ.get("PYSPARK_PYTHON"),
        remote_from_environment=os.environ.get("SPARK_REMOTE"),
        is_found=is_found(__file__),
        **arguments,
    )


def under_spark_submit() -> bool:
    """Tell whether spark-submit started this program: it starts the JVM, which starts Python."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _session_for(request: SessionRequest) -> SparkSession:
    """Return the active session, or the one that the request describes."""
    refuse_in_worker()
    launch = plan_launch(request)
    with _state.lock:
        for line in launch.warnings:
            warn_once(line, stacklevel=4)
        session = _active_session()
        if session is not None:
            _warn_of_differences(session, request)
        else:
            session = connect(launch.remote, launch.conf) if launch.remote else _started(launch)
            _state.own_session = session
            if not _state.stops_at_exit:
                atexit.register(stop_orca_context)
                _state.stops_at_exit = True
        remember(session)
        context = context_of(session)
        if launch.log_level is not None and context is not None:
            context.setLogLevel(launch.log_level)
        return session


def _active_session() -> SparkSession | None:
    """Return the session that is active in this process, created in any thread."""
    from pyspark.sql import SparkSession

    await_stop()
    try:
        session = SparkSession.getActiveSession()
    except lost_jvm():
        forget_jvm()
        return None
    if session is not None:
        return session
    # Spark keeps the active session per thread, and a notebook's callback or a web server's handler
    # runs in another one. A Connect server named in the environment is a session to come.
    session = remote_session()
    if session is None and (running_context() is not None or "SPARK_REMOTE" in os.environ):
        with _environment(_python_of_local_server()):
            return SparkSession.builder.getOrCreate()
    return session


def _python_of_local_server() -> dict[str, str]:
    """Return the variables that give a Connect server on this machine this program's Python."""
    starts_here = os.environ.get("SPARK_REMOTE", "").startswith("local")
    chosen = "PYSPARK_PYTHON" in os.environ or not sys.executable
    return {"PYSPARK_PYTHON": sys.executable} if starts_here and not chosen else {}


def _started(launch: Launch) -> SparkSession:
    """Start a JVM if this process has none, and a session on it."""
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    # What Spark's own files set is known only later: the first job checks that.
    check_encryption(lambda key: str(launch.conf.get(key, "")))
    if launch.submit_command is not None and not under_spark_submit():
        raise ContextError(
            "this cluster_mode is for programs that spark-submit has started, and this one was not"
            f"\nStart it with {launch.submit_command}"
        )
    conf = SparkConf().setAll(list(launch.conf.items()))
    with _environment(launch.environment):
        gateway = None
        if SparkContext._gateway is None and not under_spark_submit():
            gateway = _start_jvm(conf)
        context = None
        try:
            context = SparkContext(conf=conf, gateway=gateway)
            return SparkSession.builder.getOrCreate()
        except (Py4JError, PySparkException) as error:
            if context is not None:
                # A cluster that gives up stops the context without telling pyspark, which would
                # then offer the dead context to the next call.
                context.stop()
            master = launch.conf.get("spark.master", "the cluster")
            reason = str(getattr(error, "java_exception", error)).partition("\n")[0]
            raise ContextError(
                f"Spark could not start on {master}: {reason}\n"
                "Its own log, printed above, may say more"
            ) from error
        except KeyboardInterrupt:
            if gateway is not None:
                abandon(gateway)
            raise


def _start_jvm(conf: Any) -> Any:
    """Start a JVM on a Java that Spark can use; it need not be the first on PATH."""
    from pyspark.find_spark_home import _find_spark_home

    java = find_java()
    spark_home = Path(_find_spark_home())
    archive = find_class_archive(java, spark_home, dict(conf.getAll()))
    # Spark's launcher adds these options to the driver's command line, before the user's own.
    own = [
        java.compiler_options(_processors()),
        archive.java_options() if archive else "",
        os.environ.get("SPARK_SUBMIT_OPTS", ""),
    ]
    options = " ".join(filter(None, own))
    with _environment({"JAVA_HOME": str(java.home), "SPARK_SUBMIT_OPTS": options}):
        gateway = start_gateway(conf, log_output=OrcaContext.log_output)
    if archive is not None:
        archive.make_after(gateway)
    return gateway


def _processors() -> int:
    """Return how many processors a JVM of this program may use."""
    has_affinity = hasattr(os, "sched_getaffinity")  # macOS has none
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables while Spark starts: it reads some only from the environment."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _warn_of_differences(session: SparkSession, request: SessionRequest) -> None:
    """Say which of the arguments the adopted session does not follow."""
    differing = [
        f"{key} is {session.conf.get(key, None)}, not {wanted}"
        for key, wanted in requested_conf(request).items()
        if session.conf.get(key, None) != wanted
    ]
    remote = plan_launch(request).remote
    if remote and context_of(session) is not None:
        differing.append(f"it is not on {remote}")
    if differing:
        warnings.warn(
            "init_orca_context uses the Spark session that is active already and changes nothing "
            f"about it: {'; '.join(differing)}. Stop that session first to start one with these "
            "arguments.",
            stacklevel=4,
        )


class OrcaContext(metaclass=Options):
    """The active Spark session, and options of the whole program.

    Attributes
    ----------
    log_output : bool
        Show the JVM's messages in a notebook; set it before Spark starts.
    pandas_read_backend : {"spark", "pandas"}
        What reads files into shards of pandas frames.
    shard_size : int or None
        Rows of one shard where `zoo.orca.data.pandas` and other readers make shards of rows; None
        for all rows of a partition.
    """

    @staticmethod
    def get_spark_session() -> SparkSession:
        """Return the active session; if there is none, start one on every core of this machine.

        In a program that ``spark-submit`` started, it is the session that spark-submit configures.
        """
        mode = "spark-submit" if under_spark_submit() else "local"
        return _session_for(_request(cluster_mode=mode))

    @staticmethod
    def get_spark_context() -> SparkContext:
        """Return the active session's SparkContext."""
        context = context_of(OrcaContext.get_spark_session())
        if context is None:
            raise ContextError(
                "a Spark Connect session has no SparkContext\n"
                "Take the session, OrcaContext.get_spark_session(): Orca needs nothing else"
            )
        return context

    @staticmethod
    def get_sql_context() -> SparkSession:
        """Return the active session, which has been Spark's SQLContext since Spark 2."""
        warn_once(
            "OrcaContext.get_sql_context() returns the SparkSession, which replaced SQLContext "
            "and has its methods; use OrcaContext.get_spark_session()"
        )
        return OrcaContext.get_spark_session()

    @staticmethod
    def get_ray_context() -> None:
        """Raise: there is no Ray."""
        raise ContextError(
            "there is no Ray context: Orca trains inside Spark's own tasks and starts no Ray\n"
            "Leave the call out"
        )
