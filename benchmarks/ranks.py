"""One all-reduce over several hosts with several ranks: Orca's collective beside gloo, in turns.

python benchmarks/ranks.py [--hosts 2 4 8] [--ranks 1 2 4] [--gigabits 10 1] [--rounds N]

Each host is a network namespace of this machine, 0.2 ms from the others (`tc`) where the kernel can
hold packets back, which the result tells. The ranks are
processes of numpy, without Spark. A figure is the slowest rank's median of some calls; contestants
take turns. "bytes" is what a host hands to its sockets, beside the least that can be: 2 (h - 1) / h
of the data among h hosts. All ranks share this machine's processors, which limits large layouts.
Fails when Orca takes more than 0.8 of gloo's time anywhere, sends more than 1.05 of the least, or a
rank more than 2 log2(hosts) + 4 messages for 4 KB. Where the link alone takes more than 0.8 of
gloo's time, no exact sum can reach that: "link" is the least bytes at the link's speed.
"""

import argparse
import json
import math
import socket
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

from _network import ADDRESSES, Network, Processes, congestion, why_not
from _report import HERE, Goal, brief, conclude, table, write

SIZES = {"4 KB": 4096, "164 KB": 164_000, "1.28 MB": 1_280_000, "16 MB": 16_000_000}
AWAY = 0.2
OF_GLOO, OF_LEAST = 0.8, 1.05
#: Roughly the seconds of one contestant in a round, and the calls in them.
ROUND_SECONDS = 0.5
CALLS = (3, 200)
WHO = ("orca", "gloo")


class Layout(Processes):
    """Ranks on hosts; a context, which ends them."""

    def __init__(self, network: Network, hosts: int, ranks: int) -> None:
        super().__init__()
        self.hosts, self.ranks = hosts, ranks
        self._network = network

    def __enter__(self) -> "Layout":
        places = [host for host in range(self.hosts) for _ in range(self.ranks)]
        for rank, host in enumerate(places):
            program = [HERE / "_ranks.py", rank, ADDRESSES[host]]
            self._start(self._network.spaces[host], program, {})
        ports = map(int, self._hear())
        addresses = [(ADDRESSES[host], port) for host, port in zip(places, ports, strict=True)]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            store = [ADDRESSES[0], probe.getsockname()[1]]
        self._say(json.dumps({"addresses": addresses, "store": store}))
        self._hear()  # all are connected
        return self

    def run(self, who: str, size: int, calls: int) -> list[dict[str, float]]:
        """Return what each rank saw of some calls."""
        self._say(json.dumps({"who": who, "bytes": size, "calls": calls}))
        return [json.loads(line) for line in self._hear()]


def measure(layout: Layout, size: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of both contestants by round, and what Orca's ranks sent a call."""
    slowest = max(one["seconds"] for who in WHO for one in layout.run(who, size, 2))
    calls = int(min(max(ROUND_SECONDS / slowest, CALLS[0]), CALLS[1]))
    seconds: dict[str, list[float]] = {who: [] for who in WHO}
    sent: list[dict[str, float]] = []
    for number in range(rounds):
        for who in WHO[:: 1 if number % 2 == 0 else -1]:
            found = layout.run(who, size, calls)
            seconds[who].append(max(one["seconds"] for one in found))
            sent = found if who == "orca" else sent
    per_host = [
        sum(one["bytes"] for one in sent[first : first + layout.ranks])
        for first in range(0, len(sent), layout.ranks)
    ]
    return {
        "seconds": seconds,
        "messages": max(one["messages"] for one in sent),
        "bytes": max(per_host),
        "least": 2 * (layout.hosts - 1) / layout.hosts * size,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--hosts", nargs="+", type=int, default=[2, 4, 8])
    add("--ranks", nargs="+", type=int, default=[1, 2, 4], help="of each host")
    add("--gigabits", nargs="+", type=float, default=[10, 1])
    add("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    if reason := why_not():
        raise SystemExit(reason)
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    away = AWAY
    for hosts in options.hosts:
        with Network(ADDRESSES[:hosts]) as network:
            away = AWAY if network.can_delay() else 0.0
            for ranks in options.ranks:
                with Layout(network, hosts, ranks) as layout:
                    for gigabits in options.gigabits:
                        network.limit(gigabits, away)
                        for name, size in SIZES.items():
                            figures = measure(layout, size, options.rounds)
                            point = {"hosts": hosts, "ranks": ranks, "Gbit/s": gigabits}
                            found.append((point | {"size": name}, figures))
                            print(line(*found[-1]), flush=True)
                    network.limit(None)
    lines = [line(point, figures) for point, figures in found]
    names = [
        "hosts",
        "ranks a host",
        "Gbit/s",
        "size",
        "Orca, ms",
        "gloo, ms",
        "Orca / gloo",
        "Orca / link",
    ]
    shown = table([*names, "messages a rank", "bytes a host / least"], lines)
    setting = (
        f"{away} ms there and back, {options.rounds} rounds in turns; the slowest rank's median of "
        f"a round's calls, and the median of the rounds. {congestion()}"
    )
    goals = goals_of(found)
    data = {"points": [point | figures for point, figures in found]}
    path = write(
        "ranks",
        "One all-reduce over several hosts",
        {"": setting, "Times": shown},
        goals=goals,
        data=data,
    )
    return conclude(path, [shown], goals)


def line(point: dict[str, Any], figures: dict[str, Any]) -> list[object]:
    """Return a line of the table."""
    ours, theirs = (median(figures["seconds"][who]) for who in WHO)
    link = link_seconds(point, figures)
    return [
        *(f"{value:g}" if isinstance(value, float) else value for value in point.values()),
        brief(ours * 1e3),
        brief(theirs * 1e3),
        f"{ours / theirs:.2f}",
        f"{ours / link:.2f}",
        brief(figures["messages"]),
        f"{figures['bytes'] / figures['least']:.2f}",
    ]


def link_seconds(point: dict[str, Any], figures: dict[str, Any]) -> float:
    """Return the seconds in which the link sends the least bytes."""
    return figures["least"] * 8 / (point["Gbit/s"] * 1e9)


def goals_of(found: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[Goal]:
    """Return the worst of all points, for each thing that must hold."""
    ratios = [median(f["seconds"]["orca"]) / median(f["seconds"]["gloo"]) for _, f in found]
    free = [
        median(f["seconds"]["orca"]) / median(f["seconds"]["gloo"])
        for point, f in found
        if link_seconds(point, f) < OF_GLOO * median(f["seconds"]["gloo"])
    ]
    large = [f["bytes"] / f["least"] for point, f in found if point["size"] == "16 MB"]
    small = [
        f["messages"] - 2 * math.log2(point["hosts"])
        for point, f in found
        if point["size"] == "4 KB"
    ]
    return [
        Goal("time ÷ gloo's, the worst point", max(ratios), OF_GLOO, at_most=True),
        Goal("time ÷ gloo's, where the link leaves room", max(free), OF_GLOO, at_most=True),
        Goal("time ÷ gloo's, the median point", median(ratios), at_most=True),
        Goal("bytes a host ÷ the least, 16 MB", max(large), OF_LEAST, at_most=True),
        Goal("messages a rank − 2 log2(hosts), 4 KB", max(small), 4, at_most=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
