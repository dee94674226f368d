"""A Spark standalone cluster of separate processes on this machine, for tests.

::

    Cluster -> master            one process
            -> worker, worker    one core each, a work directory each
               -> executor, pyspark's daemon, the children: what Spark and Orca start

Everything that the cluster starts inherits a variable, by which `processes` finds it.
"""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from tests.jvms import OPTIONS, environment_without
from zoo.orca.context.java import find_java

STARTS_WITHIN = 60.0
MARK = "ORCA_TEST_CLUSTER"

# Python on the executors: this interpreter, without the package that is installed beside it.
_NO_PACKAGE = """\
import sys
from pathlib import Path

sys.path[:] = [path for path in sys.path if not (Path(path) / "zoo" / "orca").is_dir()]
"""


@dataclass
class Cluster:
    """A master and two workers, running."""

    directory: Path
    environment: Mapping[str, str]
    url: str = ""
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def work_directories(self) -> list[Path]:
        """Each worker's directory; executors run in a subdirectory of it."""
        return [self.directory / f"worker-{number}" for number in (0, 1)]

    def processes(self) -> dict[int, str]:
        """Everything alive that the cluster has started: process ids and commands."""
        return {pid: command for pid, command in _marked(self.environment[MARK])}

    def lose_worker(self, number: int) -> None:
        """Kill a worker's daemon; its executor ends with it, and no other takes its place."""
        self.workers[number].kill()
        self.workers[number].wait()

    def add_worker(self) -> int:
        """Start another worker's daemon; return its number once the master knows it."""
        log = _start_worker(self, self.directory / f"worker-{len(self.workers)}")
        _found(log, "Successfully registered with master")
        return len(self.workers) - 1

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        """The workers' daemons, by number."""
        return self.daemons[1:]


@contextmanager
def running(
    directory: Path, worker_options: str = "", daemon_options: str = ""
) -> Iterator[Cluster]:
    """Start a cluster, its workers' JVMs, and all, with these options; kill all in the end."""
    environment = _environment(directory) | {
        "SPARK_WORKER_OPTS": worker_options,
        "SPARK_DAEMON_JAVA_OPTS": f"{OPTIONS} {daemon_options}",
    }
    cluster = Cluster(directory, environment)
    try:
        master = _start(cluster, "master", "master.Master", "--port", "0", "--webui-port", "0")
        cluster.url = _found(master, r"Starting Spark master at (spark://\S+)")
        logs = [_start_worker(cluster, work) for work in cluster.work_directories]
        for log in logs:
            _found(log, "Successfully registered with master")
        yield cluster
    finally:
        _stop(cluster)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not (is_true := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_true


def _environment(directory: Path) -> dict[str, str]:
    """Return this environment less what would show the executors where the package is."""
    site = directory / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_NO_PACKAGE)
    return environment_without("PYTHON", "PYSPARK") | {
        MARK: uuid.uuid4().hex,
        "JAVA_HOME": str(find_java().home),
        "PYTHONPATH": str(site),
        "SPARK_LOCAL_DIRS": str(directory / "local"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
    }


def _start_worker(cluster: Cluster, work: Path) -> Path:
    """Start a worker of one core; return the file that it logs to."""
    options = ["--cores", "1", "--memory", "2g", "--webui-port", "0", "--port", "0"]
    options += ["--work-dir", str(work), cluster.url]
    return _start(cluster, work.name, "worker.Worker", *options)


def _start(cluster: Cluster, name: str, main: str, *arguments: str) -> Path:
    """Start one daemon; return the file that it logs to."""
    log = cluster.directory / f"{name}.log"
    command = [
        str(Path(pyspark.__file__).parent / "bin" / "spark-class"),
        f"org.apache.spark.deploy.{main}",
        *("--host", "127.0.0.1"),
        *arguments,
    ]
    with log.open("wb") as stream:
        cluster.daemons.append(
            subprocess.Popen(
                command,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env=cluster.environment,
                cwd=cluster.directory,
                start_new_session=True,
            )
        )
    return log


def _found(log: Path, pattern: str) -> str:
    """Wait for a line of a daemon's log; return its first group, or all of the match."""
    if not wait_until(lambda: re.search(pattern, log.read_text()) is not None, STARTS_WITHIN):
        raise TimeoutError(f"{log.name} does not say {pattern!r}:\n{log.read_text()}")
    match = re.search(pattern, log.read_text())
    assert match is not None
    return match[match.lastindex or 0]


def _stop(cluster: Cluster) -> None:
    """End the daemons, workers first, and then whatever they have left behind."""
    for daemon in reversed(cluster.daemons):
        daemon.terminate()
    for daemon in reversed(cluster.daemons):
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)
    wait_until(lambda: not cluster.processes(), 10)
    for pid in cluster.processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _marked(mark: str) -> Iterator[tuple[int, str]]:
    """Yield the processes that have inherited a mark."""
    wanted = f"{MARK}={mark}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield int(process.name), command[-300:]
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue


def driver_environment() -> dict[str, str]:
    """Return the environment of a driver, whose program finds the package by itself."""
    kept = environment_without("PYTHON", "PYSPARK")
    return kept | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
