"""From the arguments of `init_orca_context` to a Spark configuration.

A table maps each ``cluster_mode`` to one small function. Nothing here reads the environment, starts
anything or imports pyspark: the whole file is a pure function, `plan_launch`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zoo.orca.context.request import (
    DEFAULT_MEMORY,
    SessionRequest,
    check,
    did_you_mean,
    unused_options,
)
from zoo.orca.errors import InvalidInputError

_LOG_CONFIGURATION = Path(__file__).with_name("log4j2.properties")
_LOG_OPTION = "-Dlog4j2.configurationFile="
_ARCHIVE_NAME = "python_env"
_DAEMON = "zoo.orca.context.daemon"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start the requested session.

    Attributes
    ----------
    conf : dict
        Spark's configuration.
    environment : dict
        Variables that must be set while the JVM and the session start.
    log_level : str or None
        Spark's log level, if one was given.
    warnings : tuple of str
        What was given and will have no effect.
    submit_command : str or None
        Set for the modes whose driver only ``spark-submit`` can start.
    remote : str
        The URL of a Spark Connect server; empty if Spark is to be started here.
    """

    conf: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    log_level: str | None = None
    warnings: tuple[str, ...] = ()
    submit_command: str | None = None
    remote: str = ""


def plan_launch(request: SessionRequest) -> Launch:
    """Return the configuration for a request.

    Raises
    ------
    InvalidInputError
        For an unknown mode or keyword argument, or a value that makes no sense.
    """
    mode = _MODES.get(request.cluster_mode)
    if mode is None:
        raise InvalidInputError(
            f"there is no cluster_mode={request.cluster_mode!r}"
            + did_you_mean(request.cluster_mode, _MODES, f"It is one of {', '.join(_MODES)}")
        )
    check(request, _KNOWN)
    launch = mode.build(request)
    conf, environment = launch.conf, launch.environment
    # Under spark-submit the user has configured Spark already, and so has who started a Connect
    # server. So Orca adds nothing.
    if launch.submit_command is None and not launch.remote:
        conf = _COMMON | conf | _options_conf(request.options)
        environment = environment | _options_environment(request.options)
    user_conf = _user_conf(request)
    java_options = "spark.driver.extraJavaOptions"
    if java_options in conf and java_options in user_conf:
        # The user's options go last: Java takes the last definition of a property.
        user_conf[java_options] = f"{conf[java_options]} {user_conf[java_options]}"
    return replace(
        launch,
        conf=conf | user_conf,
        environment=environment,
        log_level=request.options.get("spark_log_level"),
        warnings=launch.warnings + unused_options(request, mode.options),
    )


def requested_conf(request: SessionRequest) -> dict[str, str]:
    """Return the settings that differ from the mode's defaults, to compare with a session."""
    asked = plan_launch(request).conf
    plain = replace(request, cores=None, memory=DEFAULT_MEMORY, num_nodes=1, conf={})
    defaults = plan_launch(plain).conf
    keep = set() if request.cluster_mode == "local" else {"spark.master"}
    return {key: v for key, v in asked.items() if key in keep or defaults.get(key) != v}


# For every session that Orca creates. Orca's progress bar replaces Spark's, which would overwrite
# it on the same line of the terminal.
_COMMON = {
    "spark.app.name": "orca",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
}


def _local(request: SessionRequest) -> Launch:
    cores = "*" if request.cores is None else request.cores
    conf = {
        "spark.master": f"local[{cores}]",
        "spark.driver.memory": request.memory,
        # No other machine takes part, so none may connect. This also keeps the session alive when a
        # laptop changes its network.
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": _LOG_OPTION + _LOG_CONFIGURATION.resolve().as_uri(),
        # Two programs on one machine would compete for the UI's port, with a warning each.
        "spark.ui.enabled": "false",
        # Spark's 200 partitions suit a cluster. Here each costs more to start than its rows do.
        "spark.sql.shuffle.partitions": "8",
    }
    python = _workers_python(request, request.python)
    is_here = str(request.conf.get("spark.master", "local")).startswith("local")
    if request.is_found and is_here and python == request.python:
        conf["spark.python.daemon.module"] = _DAEMON
    conf, environment = _with_python(conf, python)
    # Spark would look up the host name, and warn if that gives a loopback address.
    environment["SPARK_LOCAL_IP"] = str(request.conf.get("spark.driver.host", "127.0.0.1"))
    warnings: tuple[str, ...] = ()
    if request.num_nodes != 1:
        warnings = (
            f"num_nodes={request.num_nodes} has no effect in local mode, which is one node; "
            "workers_per_node= of the estimator sets the number of workers",
        )
    return Launch(conf=conf, environment=environment, warnings=warnings)


def _standalone(request: SessionRequest) -> Launch:
    master = _required(request, "master", "the cluster's URL, such as spark://host:7077")
    conf = {
        "spark.master": master,
        "spark.cores.max": str(request.executor_cores() * request.num_nodes),
        **_executors(request),
    }
    conf, environment = _with_python(conf, _workers_python(request, request.python))
    return Launch(conf=conf, environment=environment)


def _yarn(request: SessionRequest) -> Launch:
    conf = {"spark.master": "yarn", "spark.submit.deployMode": "client", **_executors(request)}
    return _with_shipped_python(request, conf)


def _k8s(request: SessionRequest) -> Launch:
    master = _required(request, "master", "the API server's URL, such as k8s://https://host:443")
    image = _required(request, "container_image", "the executors' image")
    conf = {
        "spark.master": master if master.startswith("k8s://") else f"k8s://{master}",
        "spark.submit.deployMode": "client",
        "spark.kubernetes.container.image": image,
        **_executors(request),
    }
    # The image has its own Python, so no warning is due when none is shipped.
    return replace(_with_shipped_python(request, conf), warnings=())


def _spark_submit(request: SessionRequest) -> Launch:
    """Leave to spark-submit everything that it has an option for."""
    warnings = _sizes(
        request,
        "under spark-submit, which has started the driver already; use its --executor-cores, "
        "--executor-memory and --num-executors",
    )
    return Launch(conf={}, submit_command="spark-submit your_program.py", warnings=warnings)


def _connect(request: SessionRequest) -> Launch:
    """Leave everything to who started the server."""
    remote = str(request.options.get("remote") or request.remote_from_environment or "")
    if not remote:
        remote = _required(request, "remote", "the server's URL, such as sc://host:15002")
    if not remote.startswith("sc://"):
        raise InvalidInputError(
            f"remote={remote!r} is not the URL of a Spark Connect server\n"
            'It begins with sc://, as in remote="sc://host:15002"'
        )
    warnings = _sizes(
        request,
        "with cluster_mode='connect': the server has its executors; start it with --conf "
        "spark.executor.cores, spark.executor.memory and spark.executor.instances",
    )
    return Launch(conf={}, remote=remote, warnings=warnings)


def _sizes(request: SessionRequest, why: str) -> tuple[str, ...]:
    """Return a line about the sizes that were given, if what runs already has its own."""
    sizes = {
        "cores": request.cores is not None,
        "memory": request.memory != DEFAULT_MEMORY,
        "num_nodes": request.num_nodes != 1,
    }
    given = [f"{name}=" for name, is_given in sizes.items() if is_given]
    return (f"{', '.join(given)} have no effect {why}",) if given else ()


def _cluster_driver(
    client: Callable[[SessionRequest], Launch],
) -> Callable[[SessionRequest], Launch]:
    """Make the mode whose driver runs in the cluster from the one whose driver runs here."""

    def build(request: SessionRequest) -> Launch:
        conf = client(request).conf | _options_conf(request.options) | _user_conf(request)
        command = ["spark-submit", "--master", conf.pop("spark.master"), "--deploy-mode", "cluster"]
        conf.pop("spark.submit.deployMode")
        for key, value in sorted(conf.items()):
            command += ["--conf", f"{key}={value}"]
        return Launch(conf={}, submit_command=shlex.join([*command, "your_program.py"]))

    return build


@dataclass(frozen=True)
class _Mode:
    """One cluster mode: what builds it, and the keyword arguments it uses."""

    build: Callable[[SessionRequest], Launch]
    options: frozenset[str]


_ANY = frozenset({"spark_log_level", "jars", "extra_python_lib"})
_PYTHON = _ANY | {"python_location"}
_STANDALONE = _PYTHON | {"master", "driver_cores", "driver_memory"}
_SHIPPED = _PYTHON | {"driver_cores", "driver_memory", "penv_archive", "additional_archive"}
_YARN = _SHIPPED | {"hadoop_conf", "hadoop_user_name", "spark_yarn_archive"}
_K8S = _SHIPPED | {"master", "container_image"}

_MODES = {
    "local": _Mode(_local, _PYTHON),
    "standalone": _Mode(_standalone, _STANDALONE),
    "connect": _Mode(_connect, frozenset({"remote"})),
    "spark-submit": _Mode(_spark_submit, frozenset({"spark_log_level"})),
    "yarn": _Mode(_yarn, _YARN),
    "yarn-client": _Mode(_yarn, _YARN),
    "yarn-cluster": _Mode(_cluster_driver(_yarn), _YARN),
    "k8s": _Mode(_k8s, _K8S),
    "k8s-client": _Mode(_k8s, _K8S),
    "k8s-cluster": _Mode(_cluster_driver(_k8s), _K8S),
}

_KNOWN = frozenset[str]().union(*(mode.options for mode in _MODES.values()))


def _executors(request: SessionRequest) -> dict[str, str]:
    """Return the size and number of the executors."""
    return {
        "spark.executor.instances": str(request.num_nodes),
        "spark.executor.cores": str(request.executor_cores()),
        "spark.executor.memory": request.memory,
        # A fit is a barrier stage. It cannot run on executors that come and go.
        "spark.dynamicAllocation.enabled": "false",
    }


def _workers_python(request: SessionRequest, default: str) -> str:
    """Return the workers' Python: the argument, else the environment's, else the default."""
    return str(request.options.get("python_location") or request.python_from_environment or default)


def _with_python(conf: dict[str, str], python: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the configuration and environment that give the workers this Python."""
    # pyspark reads only the variable; tools and spark-submit read the configuration.
    return conf | {"spark.pyspark.python": python}, {"PYSPARK_PYTHON": python}


def _with_shipped_python(request: SessionRequest, conf: dict[str, str]) -> Launch:
    """Give executors on other machines a Python: the shipped archive's, or their own."""
    archive = request.options.get("penv_archive")
    python = _workers_python(request, f"{_ARCHIVE_NAME}/bin/python" if archive else "python3")
    conf, environment = _with_python(conf, python)
    conf["spark.executorEnv.PYSPARK_PYTHON"] = python
    archives = [f"{archive}#{_ARCHIVE_NAME}"] if archive else []
    if request.options.get("additional_archive"):
        archives.append(request.options["additional_archive"])
    if archives:
        conf["spark.archives"] = ",".join(archives)
    warnings: tuple[str, ...] = ()
    if not archive:
        warnings = (
            f"without penv_archive= the executors run their own {python}, which needs this "
            "Python's version, zoo-orca and the model's framework; penv_archive= ships one "
            "(made with conda-pack or venv-pack)",
        )
    return Launch(conf=conf, environment=environment, warnings=warnings)


_OPTIONS_TO_CONF = {
    "driver_cores": "spark.driver.cores",
    "driver_memory": "spark.driver.memory",
    "extra_python_lib": "spark.submit.pyFiles",
    "jars": "spark.jars",
    "spark_yarn_archive": "spark.yarn.archive",
}

_OPTIONS_TO_ENVIRONMENT = {
    "hadoop_conf": ("HADOOP_CONF_DIR", "YARN_CONF_DIR"),
    "hadoop_user_name": ("HADOOP_USER_NAME",),
}


def _options_conf(options: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: _text(options[name])
        for name, key in _OPTIONS_TO_CONF.items()
        if options.get(name) is not None
    }


def _options_environment(options: Mapping[str, Any]) -> dict[str, str]:
    return {
        variable: str(options[name])
        for name, variables in _OPTIONS_TO_ENVIRONMENT.items()
        if options.get(name) is not None
        for variable in variables
    }


def _required(request: SessionRequest, name: str, what: str) -> str:
    value = request.options.get(name)
    if not value:
        raise InvalidInputError(
            f"cluster_mode={request.cluster_mode!r} needs {name}=\nIt is {what}"
        )
    return str(value)


def _user_conf(request: SessionRequest) -> dict[str, str]:
    return {str(key): _text(value) for key, value in request.conf.items()}


def _text(value: object) -> str:
    """Write a value as Spark reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
