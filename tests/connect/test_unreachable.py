"""A client that reaches its server, and that no worker reaches: a laptop behind a firewall.

The two are in network namespaces of their own. The client's name is an address at which everything
that comes in is dropped without a word. So workers cannot report, and meet through Spark.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.connect.server import environment, running
from tests.connect.unreachable_program import ROWS
from tests.fake_estimator import FakeEstimator, linear
from tests.faults.test_network import ip

SERVER, CLIENT, NAME = "10.78.0.1", "10.78.0.2", "10.78.1.2"


class Firewall:
    """Two hosts: the first one's packets reach the second only as answers."""

    def __init__(self) -> None:
        self.server, self.client = f"orca{os.getpid()}server", f"orca{os.getpid()}client"

    def build(self) -> None:
        """Create everything; `destroy` removes what there is even after an error."""
        for space in (self.server, self.client):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ends = ("eth0", "type", "veth", "peer", "name", "eth0", "netns", self.client)
        ip("-n", self.server, "link", "add", *ends)
        for space, host in ((self.server, SERVER), (self.client, CLIENT)):
            ip("-n", space, "address", "add", f"{host}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
        ip("-n", self.client, "address", "add", f"{NAME}/32", "dev", "lo")
        ip("-n", self.server, "route", "add", NAME, "via", CLIENT)
        # What comes in there gets no answer, not even a refusal.
        ip("-n", self.client, "rule", "add", "from", NAME, "blackhole")

    def destroy(self) -> None:
        """Delete the namespaces, and with them all that is inside."""
        for space in (self.server, self.client):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


@pytest.fixture
def firewall() -> Iterator[Firewall]:
    """Two hosts; skipped where this machine does not let us build them."""
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("needs the programs `ip` (iproute2) and `unshare` (util-linux)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to create network namespaces")
    firewall = Firewall()
    try:
        try:
            firewall.build()
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        yield firewall
    finally:
        firewall.destroy()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_client_that_no_worker_reaches_trains_alike(
    spark: SparkSession, firewall: Firewall, tmp_path: Path
) -> None:
    inside = ["ip", "netns", "exec", firewall.server]
    with running(tmp_path, command=inside, host=SERVER) as url:
        program = [sys.executable, "-m", "tests.connect.unreachable_program", url]
        named = ["unshare", "--uts", "sh", "-c", f'hostname {NAME} && exec "$@"', "sh"]
        # The namespaces are what is told: nothing reaches the client's name from the server's host.
        knocked = subprocess.run(
            [*inside, sys.executable, "-c", KNOCK, firewall.client, NAME],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert knocked.stdout == "timed out\n", knocked.stderr
        ran = subprocess.run(
            ["ip", "netns", "exec", firewall.client, *named, *program],
            capture_output=True,
            text=True,
            timeout=150,
            env=environment(),
        )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    rows = spark.range(0, 100, 1, 3).selectExpr(*ROWS)
    for workers in (1, 2):
        est = FakeEstimator.of(linear(1), workers)
        history = est.fit(rows, epochs=2, validation=rows).history
        found = answer[str(workers)]
        assert found["weight"] == float(est.weights[0])
        assert found["history"] == history
        assert found["evaluated"] == est.evaluate(rows)
        total = sum(row.prediction for row in est.predict(rows).collect())
        assert found["predicted"] == pytest.approx(total, rel=1e-12)
        assert found["seconds"] < 60
    np.testing.assert_allclose(answer["1"]["weight"], answer["2"]["weight"], rtol=1e-12)


KNOCK = """
import socket, subprocess, sys
space, name = sys.argv[1:]
listens = f"import socket, time; s = socket.create_server(({name!r}, 7777)); print(1)"
listens += "; time.sleep(9)"
with subprocess.Popen(
    ["ip", "netns", "exec", space, sys.executable, "-uc", listens], stdout=subprocess.PIPE
) as listener:
    listener.stdout.readline()
    try:
        socket.create_connection((name, 7777), 2)
    except OSError as error:
        print(error)
    listener.kill()
"""
