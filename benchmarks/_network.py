"""Hosts on one switch, each a network namespace of this machine, with links of a chosen speed."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _report import HERE, environment

from zoo.orca.worker.task.starting import _KEEP_MEMORY

HOSTS = ["10.78.0.1", "10.78.0.2"]
#: Of more hosts than two.
ADDRESSES = [f"10.78.0.{number}" for number in range(1, 9)]
CARD = "eth0"


def why_not() -> str:
    """Return why no namespaces can be had here; nothing if they can."""
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"needs the program `{program}` (iproute2)"
    return "" if os.geteuid() == 0 else "needs root, to create network namespaces"


def congestion() -> str:
    """Return in words what decides how fast this system's TCP sends."""
    name = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return f"The system's congestion control is {name}."


def run(*command: str) -> None:
    """Run a program; its message is the error's."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Network:
    """Namespaces with one host each; a context, which takes everything down again."""

    def __init__(self, hosts: Sequence[str] = HOSTS) -> None:
        self._hosts = hosts
        self._switch = f"bench{os.getpid()}switch"
        self.spaces = [f"bench{os.getpid()}host{rank}" for rank in range(len(hosts))]

    def __enter__(self) -> "Network":
        try:
            self._build()
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for space in (*self.spaces, self._switch):
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

    def can_delay(self) -> bool:
        """Whether this machine's kernel can hold packets back."""
        place = ["-n", self.spaces[0], "qdisc"]
        add = ["tc", *place, "add", "dev", CARD, "root", "netem", "delay", "1ms"]
        able = subprocess.run(add, capture_output=True, check=False).returncode == 0
        if able:
            run("tc", *place, "del", "dev", CARD, "root")
        return able

    def limit(self, gigabits: float | None, away: float = 0.0) -> None:
        """Let every host send so many Gbit/s at most; None is as fast as the machine can.

        Hosts are so many milliseconds `away` from each other, there and back.
        """
        for space in self.spaces:
            remove = ["tc", "-n", space, "qdisc", "del", "dev", CARD, "root"]
            subprocess.run(remove, capture_output=True, check=False)
            if gigabits is not None:
                # The bucket must hold what comes between two ticks of the kernel's clock.
                burst = f"{max(128, int(400 * gigabits))}kb"
                shape = ["tbf", "rate", f"{gigabits}gbit", "burst", burst, "latency", "50ms"]
                add = ["tc", "-n", space, "qdisc", "add", "dev", CARD]
                if away:
                    # Each way has the delay of one card.
                    delay = ["netem", "delay", f"{away / 2}ms", "limit", "100000"]
                    run(*add, "root", "handle", "1:", *delay)
                    run(*add, "parent", "1:", "handle", "2:", *shape)
                else:
                    run(*add, "root", *shape)

    def _build(self) -> None:
        run("ip", "netns", "add", self._switch)
        run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self._switch, "link", "set", "bridge", "up")
        for rank, (space, host) in enumerate(zip(self.spaces, self._hosts, strict=True)):
            run("ip", "netns", "add", space)
            ends = ["type", "veth", "peer", "name", f"port{rank}", "netns", self._switch]
            run("ip", "-n", space, "link", "add", CARD, *ends)
            run("ip", "-n", space, "address", "add", f"{host}/24", "dev", CARD)
            run("ip", "-n", space, "link", "set", "lo", "up")
            run("ip", "-n", space, "link", "set", CARD, "up")
            run("ip", "-n", self._switch, "link", "set", f"port{rank}", "master", "bridge", "up")


class Processes:
    """Processes in namespaces, each asked and answered by lines; a context, which ends them."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._cpus = sorted(os.sched_getaffinity(0))

    def __exit__(self, *exc: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def _start(self, space: str, arguments: Sequence[object], variables: dict[str, str]) -> None:
        """Start a Python program on a processor of its own, as far as there are enough."""
        cpu = self._cpus[len(self._processes) % len(self._cpus)]
        command = ["ip", "netns", "exec", space, "taskset", "-c", str(cpu), sys.executable]
        self._processes.append(
            subprocess.Popen(
                command + [str(argument) for argument in arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=variables | environment() | {"OMP_NUM_THREADS": "1"},
            )
        )

    def _say(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def _hear(self) -> list[str]:
        """Return the next line of each process."""
        lines = []
        for process in self._processes:
            assert process.stdout is not None
            lines.append(process.stdout.readline().strip())
            if not lines[-1]:
                raise SystemExit("a rank has ended: see what it printed above")
        return lines


class Ranks(Processes):
    """A process of a program on each host, which trains; a context, which ends them.

    Each has one thread.
    """

    def __init__(
        self, network: Network, arguments: Sequence[object], program: str = "_rank.py"
    ) -> None:
        super().__init__()
        self._network, self._arguments, self._program = network, arguments, program

    def __enter__(self) -> "Ranks":
        for rank, space in enumerate(self._network.spaces):
            program = [HERE / self._program, rank, HOSTS[rank], *self._arguments]
            # As the children of Orca's tasks have it.
            self._start(space, program, _KEEP_MEMORY)
        ports = map(int, self._hear())
        self._say(json.dumps(list(zip(HOSTS, ports, strict=True))))
        return self

    def train(self, what: object = "train") -> list[Any]:
        """Train once more; return what each rank saw."""
        self._say(json.dumps(what))
        return [json.loads(line) for line in self._hear()]
