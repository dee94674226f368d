"""The GPUs that a worker's child sees: CUDA_VISIBLE_DEVICES, fixed before the child starts.

A framework reads the variable once, when it first asks for a device, so it cannot change in a
running child. It is part of the child's environment. So a warm child never serves a task with other
GPUs.

Spark gives addresses where it schedules GPUs. In local mode it does not, so the workers divide the
GPUs that this process sees.
"""

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyspark import TaskContext

from zoo.orca.errors import DeviceError
from zoo.orca.wire.processors import VISIBLE_GPUS

_QUERY = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
_QUERY_SECONDS = 20.0
#: Set beside the devices, unless already set.
_BESIDE = {
    # Addresses are nvidia-smi's, which counts in bus order; CUDA counts by speed.
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # A warm child that waits must leave unused memory to the next task's child.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}


def gpu_addresses() -> list[str]:
    """Return the GPUs that Spark gave this task; none if Spark does not schedule them."""
    context = TaskContext.get()
    given = context.resources().get("gpu") if context is not None else None
    return list(given.addresses) if given is not None else []


def device_environment(
    gpus: int, addresses: Sequence[str], place: int, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that show a child only its GPUs; none if it asked for none.

    Parameters
    ----------
    gpus : int
        How many GPUs the worker was promised.
    addresses : sequence of str
        The GPUs that Spark gave the task; none if Spark does not schedule GPUs.
    place : int
        This worker's number among those that share the host's GPUs, from 0.
    inherited : mapping
        This process's environment.

    Raises
    ------
    DeviceError
        If there are fewer GPUs than were asked for. The message names the setting.
    """
    if not gpus:
        return {}
    devices = given(addresses, inherited) if addresses else shared(gpus, place, inherited)
    if len(devices) < gpus:
        raise DeviceError(
            f"num_gpus_per_worker={gpus}, and Spark gave this worker {len(devices)} GPUs "
            f"({', '.join(devices)})\nSet spark.task.resource.gpu.amount={gpus}"
        )
    beside = {name: value for name, value in _BESIDE.items() if name not in inherited}
    return {VISIBLE_GPUS: ",".join(devices[:gpus]), **beside}


def given(addresses: Sequence[str], inherited: Mapping[str, str]) -> list[str]:
    """Return Spark's addresses as CUDA's names, with numbers counted within an inherited list.

    Raises
    ------
    DeviceError
        If the executor may not use one of the addresses.
    """
    there = _listed(inherited)
    if there is None or not all(address.isdecimal() for address in addresses):
        return list(addresses)
    if all(int(address) < len(there) for address in addresses):
        return [there[int(address)] for address in addresses]
    if set(addresses) <= set(there):  # found by a script that ignores the variable
        return list(addresses)
    raise DeviceError(
        f"Spark gave this worker the GPUs {', '.join(addresses)}, and the executor may use only "
        f"{VISIBLE_GPUS}={inherited[VISIBLE_GPUS]!r}\n"
        "Take the variable out of the executors' environment, or let "
        "spark.executor.resource.gpu.discoveryScript find only what it lists"
    )


def shared(gpus: int, place: int, inherited: Mapping[str, str]) -> list[str]:
    """Return this worker's part of the visible GPUs; one GPU may serve several workers.

    Raises
    ------
    DeviceError
        If this process sees fewer GPUs than one worker needs.
    """
    there = _listed(inherited)
    seen = installed() if there is None else there
    if len(seen) < gpus:
        where = (
            "this machine has"
            if there is None
            else f"{VISIBLE_GPUS}={inherited[VISIBLE_GPUS]!r} shows"
        )
        raise DeviceError(
            f"num_gpus_per_worker={gpus}, and {where} {len(seen)} GPUs\nAsk for fewer, or train on "
            "processors with num_gpus_per_worker=0"
        )
    return [seen[(place * gpus + i) % len(seen)] for i in range(gpus)]


def installed() -> list[str]:
    """Return the numbers of this machine's GPUs, from the driver's tool or its device files."""
    if shutil.which(_QUERY[0]):
        try:
            return list(_asked())
        except (OSError, subprocess.SubprocessError):
            return []  # the tool exists but finds no driver
    files = [path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    # In a container the files keep the host's numbers, but CUDA counts from 0.
    return [str(number) for number in range(len(files))]


@functools.cache
def _asked() -> tuple[str, ...]:
    """Ask the driver's tool, once in a process: it may take seconds. A failure is asked again."""
    asked = subprocess.run(
        _QUERY, capture_output=True, text=True, timeout=_QUERY_SECONDS, check=True
    )
    return tuple(asked.stdout.split())


def _listed(inherited: Mapping[str, str]) -> list[str] | None:
    """Return the devices that an inherited variable lists; None without a variable."""
    if VISIBLE_GPUS not in inherited:
        return None
    listed = [name.strip() for name in inherited[VISIBLE_GPUS].split(",")]
    # CUDA reads the list up to the first invalid name, such as -1.
    ends = next((i for i, name in enumerate(listed) if name in ("", "-1")), len(listed))
    return listed[:ends]
