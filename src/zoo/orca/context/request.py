"""The arguments of `init_orca_context`, checked before a JVM starts.

The original has keyword arguments that mean nothing here: those that set up Ray, or a jar. Orca
accepts them, so that its users' programs run, and names them in a warning.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.orca.errors import InvalidInputError

DEFAULT_MEMORY = "2g"
DEFAULT_EXECUTOR_CORES = 2

_RAY = "Orca trains inside Spark's own tasks and starts no Ray, so there is nothing to set"
_NO_MEANING = {
    **dict.fromkeys(
        (
            "env",
            "extra_executor_memory_for_ray",
            "extra_params",
            "include_webui",
            "init_ray_on_spark",
            "num_ray_nodes",
            "object_store_memory",
            "ray_node_cpu_cores",
            "redis_password",
            "redis_port",
            "runtime",
            "verbose",
        ),
        _RAY,
    ),
    "enable_numa_binding": "Orca starts no Spark cluster of its own whose processes it could bind",
    "init_executor_gateway": "Orca's tasks need no gateway from an executor's Python to its JVM",
    "redirect_spark_log": "Orca has no jar whose log could be redirected; see spark_log_level=",
}


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """The arguments of `init_orca_context`, and what this process adds to them.

    Attributes
    ----------
    cluster_mode : str
        A key of the table of modes.
    cores : int, "*" or None
        Cores per node; None means every core in local mode, `DEFAULT_EXECUTOR_CORES` elsewhere.
    memory : str
        Memory per node, such as ``"2g"``.
    num_nodes : int
        Executors.
    conf : Mapping
        The user's Spark configuration; overrides everything that is derived.
    options : Mapping
        The mode's own keyword arguments.
    python : str
        The running interpreter.
    python_from_environment : str or None
        ``PYSPARK_PYTHON``, if the user has set it.
    remote_from_environment : str or None
        ``SPARK_REMOTE``, if the user has set it.
    is_found : bool
        Whether every process of this Python finds this package.
    """

    cluster_mode: str = "local"
    cores: int | str | None = None
    memory: str = DEFAULT_MEMORY
    num_nodes: int = 1
    conf: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    python: str = "python3"
    python_from_environment: str | None = None
    remote_from_environment: str | None = None
    is_found: bool = False

    def executor_cores(self) -> int:
        """Cores of one executor."""
        if self.cores == "*":
            raise InvalidInputError(
                'cores="*" is for local mode\nGive the cores of one executor, such as cores=4'
            )
        return DEFAULT_EXECUTOR_CORES if self.cores is None else int(self.cores)


def check(request: SessionRequest, known: Collection[str]) -> None:
    """Refuse unknown arguments and values that make no sense.

    Parameters
    ----------
    request : SessionRequest
        The arguments.
    known : Collection of str
        Keyword arguments that some cluster mode uses.

    Raises
    ------
    InvalidInputError
        Names the argument, and close matches for an unknown one.
    """
    accepted = {*known, *_NO_MEANING}
    for name in request.options:
        if name not in accepted and not _is_for_ray(name):
            raise InvalidInputError(
                f"init_orca_context has no argument {name!r}"
                + did_you_mean(name, accepted, "Settings of Spark go into conf={...}")
            )
    if request.cores is not None and request.cores != "*":
        _check_count("cores", request.cores)
    _check_count("num_nodes", request.num_nodes)
    _check_size("memory", request.memory)
    if request.options.get("driver_memory") is not None:
        _check_size("driver_memory", request.options["driver_memory"])


def unused_options(request: SessionRequest, heeded: Collection[str]) -> tuple[str, ...]:
    """Return a line for each given argument that this mode ignores."""
    lines = []
    for name in request.options:
        if name in _NO_MEANING or _is_for_ray(name):
            lines.append(f"{name}= has no effect: {_NO_MEANING.get(name, _RAY)}")
        elif name not in heeded:
            lines.append(f"{name}= has no effect with cluster_mode={request.cluster_mode!r}")
    return tuple(lines)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the second line of a message about an unknown name: close known names."""
    close = difflib.get_close_matches(name, list(known))
    return f"\nDid you mean {' or '.join(close)}?" if close else f"\n{otherwise}"


def _is_for_ray(name: str) -> bool:
    return name.startswith(("ray_", "redis_"))


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(
            f"{name}={value!r} is not a number from 1 up\nWrite {name}=1, or more"
        )


def _check_size(name: str, value: object) -> None:
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d*[kmgt]b?", value, re.IGNORECASE):
        return
    # Spark reads a number alone as MiB, or as bytes.
    way = 'Write it as Spark does, as in "2g" or "512m"'
    if re.fullmatch(r"[1-9]\d*", str(value)):
        way = f'Write its unit, too, as in {name}="{value}g"'
    raise InvalidInputError(f"{name}={value!r} is not a size\n{way}")
