"""How a child starts: its command, its environment and its pipes."""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import zoo.orca
from zoo.orca.wire.paths import LAST_PATHS, search_paths
from zoo.orca.worker import temporary
from zoo.orca.worker.pipes import PIPE_BYTES

#: Makes glibc's malloc keep the memory that a training step frees. By default it may return and
#: refetch the same few hundred kilobytes in every step. For the quick start's model this is a
#: thousand page faults a step, a third of its time. Other C libraries ignore these variables.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
#: How often a thread of GNU's OpenMP looks for the others before it sleeps: half a millisecond. By
#: default it is 300,000 times. Where two jobs share processors, the one that looks keeps the other
#: from its work, and a step takes a hundred times as long; alone, it makes no difference.
_LOOKS = {"GOMP_SPINCOUNT": "10000"}


class Process(Protocol):
    """What a task asks of the process that it has as a child."""

    @property
    def pid(self) -> int:
        """The process id."""

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended, else None."""

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise `subprocess.TimeoutExpired` if it is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process, and what its task has of it.

    Parameters
    ----------
    process : Process
    commands : BinaryIO
        The end of its standard input.
    results : BinaryIO
        The end of the pipe that brings its messages.
    log : BinaryIO
        The end of its standard output and error.
    temporary : str
        Its directory for temporary files.
    """

    process: Process
    commands: BinaryIO
    results: BinaryIO
    log: BinaryIO
    temporary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a child has from the process that starts it.

    Parameters
    ----------
    environment : mapping
    directory : str
        The current one.
    paths : sequence of str
        Where it looks for modules.
    """

    environment: Mapping[str, str]
    directory: str
    paths: Sequence[str]


def start(
    environment: dict[str, str], threads: dict[str, str], given: Surroundings | None = None
) -> Running:
    """Start a child.

    Parameters
    ----------
    environment : dict
        Variables the child gets on top of this process's.
    threads : dict
        Those that set its number of threads.
    given : Surroundings, optional
        By default those of this process.
    """
    given = given or own_surroundings()
    directory = temporary.make_directory(given.environment)
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            # Without -P the current directory would come first, and a user's random.py would
            # hide Python's.
            [sys.executable, "-P", "-m", "zoo.orca.worker.child", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            env=child_environment(environment, given) | threads | temporary.environment(directory),
            cwd=given.directory,
            # Ctrl-C on the driver's terminal must reach only the driver.
            start_new_session=True,
        )
    except OSError:
        os.close(read_end)
        temporary.remove_directory(directory)
        raise
    finally:
        os.close(write_end)
    commands = cast("BinaryIO", process.stdin)
    _widen(commands.fileno())
    _widen(read_end)
    return Running(
        process=process,
        commands=commands,
        results=os.fdopen(read_end, "rb"),
        log=cast("BinaryIO", process.stdout),
        temporary=directory,
    )


def _widen(pipe: int) -> None:
    command = getattr(fcntl, "F_SETPIPE_SZ", None)
    if command is not None:
        with contextlib.suppress(OSError):  # a user's pipes may only hold a limited number of bytes
            fcntl.fcntl(pipe, command, PIPE_BYTES)


def own_surroundings() -> Surroundings:
    """Return those of this process."""
    return Surroundings(environment=os.environ, directory=os.getcwd(), paths=sys.path)


def child_environment(extra: dict[str, str], given: Surroundings) -> dict[str, str]:
    """Return all variables of a child, which gets these beside those that it inherits."""
    # This package may have come with the job (a zip on sys.path), and so may the user's own
    # modules. So the child searches where this process searches, this package first. Paths are made
    # absolute, because on executors they may be relative to this process's start directory.
    root = str(Path(zoo.orca.__file__).absolute().parents[2])
    told = extra.get(LAST_PATHS, "").split(os.pathsep)
    # The first one is the program's directory, which a user's PYTHONPATH may name as well.
    first, last = search_paths(given.paths, root, {given.directory, told[0]})
    return {
        **_KEEP_MEMORY,
        **({} if "OMP_WAIT_POLICY" in given.environment else _LOOKS),
        **given.environment,
        "PYTHONPATH": os.pathsep.join(first),
        "PYTHONUNBUFFERED": "1",
        # The context refuses to start a session in the child (zoo.orca.context.places).
        "ZOO_ORCA_WORKER": "1",
        **extra,
        LAST_PATHS: os.pathsep.join([*filter(None, told), *last]),
    }
