"""A host that falls silent: nothing says goodbye, no packet comes any more, nobody may hang.

Every rank is a process in a network namespace of its own; a bridge in one more namespace connects
them, and pulling a cable is setting the bridge's end of it down.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.table import came_out

pytestmark = pytest.mark.timeout(60)

LIMIT_SECONDS = 15.0
HOSTS = [f"10.77.0.{rank + 1}" for rank in range(4)]
SOURCES = Path(__file__).parents[2] / "src"

PROGRAM = """
import json, sys, time
import numpy as np
from zoo.orca.errors import PeerLostError
from zoo.orca.worker.collective.ring import Listener, Ring

rank, host, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
listener = Listener(host)
print(listener.address[1], flush=True)
addresses = [tuple(address) for address in json.loads(sys.stdin.readline())]
ring = Ring.connect(listener, rank, addresses, b"s" * 32, timeout=20)
ring.barrier()
print("connected", flush=True)
array = np.zeros(2_000_000, "float32")
try:
    while what == "compute":
        # As the heartbeat's thread does while the main thread is deep inside the framework.
        lost = ring.lost_peer()
        if lost is not None:
            raise lost
        time.sleep(0.5)
    while True:
        ring.barrier() if what == "wait" else ring.all_reduce(array)
except PeerLostError as error:
    print(f"lost: {error}", flush=True)
"""


def ip(*arguments: str) -> None:
    """Run `ip`; its message is the error's."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    """Namespaces with one host each, all on one switch."""

    def __init__(self) -> None:
        self.switch = f"orca{os.getpid()}switch"
        self.spaces = [f"orca{os.getpid()}host{rank}" for rank in range(len(HOSTS))]

    def build(self) -> None:
        """Create everything; `destroy` removes what there is even after an error."""
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        for rank, (space, host) in enumerate(zip(self.spaces, HOSTS, strict=True)):
            ip("netns", "add", space)
            ends = ("eth0", "type", "veth", "peer", "name", f"port{rank}", "netns", self.switch)
            ip("-n", space, "link", "add", *ends)
            ip("-n", space, "address", "add", f"{host}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", self.switch, "link", "set", f"port{rank}", "master", "bridge", "up")

    def pull_cable(self, rank: int) -> None:
        """Cut one host off."""
        ip("-n", self.switch, "link", "set", f"port{rank}", "down")

    def destroy(self) -> None:
        """Delete the namespaces, and with them all that is inside."""
        for space in (*self.spaces, self.switch):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


@pytest.fixture
def network() -> Iterator[Network]:
    """Four hosts on a switch; skipped where this machine does not let us build them."""
    if shutil.which("ip") is None:
        pytest.skip("needs the program `ip` (iproute2)")
    if os.geteuid() != 0:
        pytest.skip("needs root, to create network namespaces")
    network = Network()
    try:
        try:
            network.build()
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        yield network
    finally:
        network.destroy()


class Host:
    """A rank on one of the hosts."""

    def __init__(self, space: str, rank: int, what: str) -> None:
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", space, sys.executable, "-c", PROGRAM]
            + [str(rank), HOSTS[rank], what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
        )

    def say(self, line: str) -> None:
        """Write a line to the rank."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Return the next line that the rank prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Kill the rank, and wait."""
        self.process.kill()
        self.process.communicate()


@pytest.mark.fault("a worker's network cable is pulled")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "lost_rank"),
    [
        # Nothing is under way on any connection: keep-alive has to ask. Rank 1 computes all the
        # time, so that all the others wait for a healthy peer when rank 2 falls silent.
        (["wait", "compute", "wait", "wait"], 2),
        # The cut comes in mid-stream: what was sent is never acknowledged.
        (["reduce", "reduce", "reduce", "reduce"], 1),
        # The host that computes is the one that falls silent.
        (["wait", "wait", "wait", "compute"], 3),
    ],
)
def test_all_ranks_end_when_a_host_falls_silent(
    network: Network, what: list[str], lost_rank: int
) -> None:
    hosts = [Host(space, rank, what[rank]) for rank, space in enumerate(network.spaces)]
    try:
        addresses = [(HOSTS[rank], int(host.hear())) for rank, host in enumerate(hosts)]
        for host in hosts:
            host.say(json.dumps(addresses))
        assert [host.hear() for host in hosts] == ["connected"] * len(hosts)
        time.sleep(1)
        network.pull_cable(lost_rank)
        begin = time.monotonic()
        words = [host.hear() for host in hosts]
        seconds = time.monotonic() - begin
    finally:
        for host in hosts:
            host.end()
    assert all(word.startswith("lost: rank ") for word in words), words
    assert any(f"rank {lost_rank} at {HOSTS[lost_rank]}" in word for word in words), words
    assert any("fell silent" in word for word in words), words
    assert seconds < LIMIT_SECONDS
    came_out("all other workers end, and name the silent one", seconds)
