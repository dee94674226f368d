"""A Spark Connect server for tests: processes of its own, on a port that was free.

::

    running() -> python -m tests.connect.server    starts Spark, tells the port, and waits
                 -> the JVM                        serves clients

The server ends when the standard input of its Python does: whatever becomes of the tests, nothing
is left running.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests import jvms

ROOT = Path(__file__).parents[2]
ENDS_WITHIN = 20.0

#: Four slots, as the classic session of the tests has.
CONF = {
    "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
    "spark.connect.grpc.binding.port": 0,
    "spark.default.parallelism": 3,
    "spark.sql.shuffle.partitions": 4,
    "spark.orca.class.archive": False,
}


@contextmanager
def running(
    directory: Path,
    conf: Mapping[str, Any] = MappingProxyType({}),
    command: Sequence[str] = (),
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """Start a server, and end it; yields its URL.

    Parameters
    ----------
    directory : Path
        For what it writes.
    conf : Mapping
        More of Spark's settings.
    command : Sequence
        Words before the server's own, such as those that choose a network namespace.
    host : str
        How clients call the server's machine.
    """
    settings = CONF | {
        "spark.local.dir": str(directory / "local"),
        "spark.sql.warehouse.dir": str(directory / "warehouse"),
        **conf,
    }
    log = directory / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.connect.server", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            cwd=directory,
            env=environment(),
            start_new_session=True,
        )
    try:
        assert server.stdout is not None
        # no limit: its line, or its end
        port = server.stdout.readline().strip().decode()
        assert port.isdigit(), log.read_text()
        yield f"sc://{host}:{port}"
    finally:
        _end(server)


def environment() -> dict[str, str]:
    """Return this environment for a program of its own: where the tests are, and no Spark."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    return jvms.environment_without("PYSPARK_") | {"PYTHONPATH": path}


def _end(server: subprocess.Popen[bytes]) -> None:
    """Let the server end by itself; if it does not in time, end it and all that it started."""
    assert server.stdin is not None and server.stdout is not None
    server.stdin.close()
    try:
        server.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(ENDS_WITHIN)
    server.stdout.close()


def main() -> None:
    """Serve until the standard input ends."""
    from pyspark import SparkContext

    from zoo.orca import init_orca_context, stop_orca_context

    init_orca_context("local", cores=4, memory="2g", conf=json.loads(sys.argv[1]))
    services = SparkContext._jvm.org.apache.spark.sql.connect.service
    service = getattr(getattr(services, "SparkConnectService$"), "MODULE$")
    print(service.localPort(), flush=True)
    sys.stdin.read()
    stop_orca_context()


if __name__ == "__main__":
    main()
