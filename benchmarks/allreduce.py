"""One all-reduce: Orca's over shared memory and over sockets, gloo, and a plain copy, in turns.

    python benchmarks/allreduce.py [--processes 2 3 4] [--rounds 7] [--encryption]

All contestants live in the same processes and take turns, round by round, so that whatever else
the machine does disturbs all of them. A round's figure is its median over many calls; a line of the
table is the median, least and greatest of the rounds. "copy" is numpy copying the same bytes once
from one array to another in each process: what it would cost to do nothing but pass them on. gloo
comes with torch, which nothing else here needs; without it the others race alone. With --encryption
the sockets race once more behind TLS, as "encrypted".
"""

import argparse
import importlib.util
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

SOURCES = Path(__file__).resolve().parents[1] / "src"
if SOURCES.is_dir():
    sys.path.insert(0, str(SOURCES))

from _report import table, write  # noqa: E402

from zoo.orca.driver.session.certificate import self_signed  # noqa: E402
from zoo.orca.worker.collective.ring import Listener, Ring  # noqa: E402

SIZES = {
    "256 B": 256,
    "16 KB": 16_000,
    "164 KB": 164_000,
    "1.28 MB": 1_280_000,
    "12.8 MB": 12_800_000,
    "64 MB": 64_000_000,
}
#: Seconds of one round of one contestant, roughly; calls are counted from it.
ROUND_SECONDS = 0.3
CALLS = (5, 1000)
SECRET = b"only a benchmark".ljust(32, b".")

Contestants = dict[str, Callable[[np.ndarray], None]]
Rounds = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print tables, write them to a file."""
    arguments = parse()
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: gloo does not take part (pip install torch)")
    sections = {}
    for processes in arguments.processes:
        before = os.getloadavg()[0]
        identity = self_signed() if arguments.encryption else ""
        rounds = measure(processes, arguments.rounds, identity)
        text = "\n\n".join([summary(rounds), f"Load average before: {before:.1f}.", raw(rounds)])
        sections[f"{processes} processes on one host"] = text
        print(f"{processes} processes\n\n{summary(rounds)}\n", flush=True)
    name = "allreduce-encrypted" if arguments.encryption else "allreduce"
    write(name, "One all-reduce of float32", sections)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--encryption", action="store_true", help="also behind TLS")
    return parser.parse_args()


def measure(processes: int, rounds: int, identity: str) -> Rounds:
    """Start the processes and return rank 0's medians in seconds: size -> contestant -> rounds."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        store_port = probe.getsockname()[1]
    pipes, ranks = [], []
    for rank in range(processes):
        pipe, theirs = context.Pipe()
        arguments = (rank, processes, rounds, store_port, theirs, identity)
        ranks.append(context.Process(target=run_rank, args=arguments, daemon=True))
        ranks[-1].start()
        theirs.close()
        pipes.append(pipe)
    addresses = [pipe.recv() for pipe in pipes]
    for pipe in pipes:
        pipe.send(addresses)
    results: list[Rounds] = [pipe.recv() for pipe in pipes]
    for process in ranks:
        process.join()
    return results[0]


def run_rank(
    rank: int, size: int, rounds: int, store_port: int, pipe: Connection, identity: str
) -> None:
    """Be one rank of all contestants."""
    ways = {"memory": (True, ""), "sockets": (False, ""), "encrypted": (False, identity)}
    if not identity:
        del ways["encrypted"]
    listeners = [Listener() for _ in ways]
    pipe.send([listener.address for listener in listeners])
    addresses = list(zip(*pipe.recv(), strict=True))
    rings = {
        name: Ring.connect(listener, rank, all_, SECRET, share_memory=share, identity=key)
        for listener, all_, (name, (share, key)) in zip(
            listeners, addresses, ways.items(), strict=True
        )
    }
    ring = rings["sockets"]
    ours: Contestants = {name: ring.all_reduce for name, ring in rings.items()}
    contestants = {**ours, **gloo(rank, size, store_port), "copy": copier()}
    results: Rounds = {}
    for name, nbytes in SIZES.items():
        array = np.empty(nbytes // 4, np.float32)
        calls = count_calls(ring, contestants, array)
        results[name] = {contestant: [] for contestant in contestants}
        for _ in range(rounds):
            for contestant, work in contestants.items():
                ring.barrier()
                total = 0 if contestant == "copy" else size * (size + 1) // 2
                results[name][contestant].append(one_round(work, array, calls, rank + 1, total))
    pipe.send(results)
    for ring in rings.values():
        ring.close()


def copier() -> Callable[[np.ndarray], None]:
    """Return what copies an array to one that stays, as the buffers of all others do."""
    kept: dict[int, np.ndarray] = {}

    def copy(array: np.ndarray) -> None:
        if array.size not in kept:
            kept.clear()
            kept[array.size] = np.empty_like(array)
        np.copyto(kept[array.size], array)

    return copy


def gloo(rank: int, size: int, store_port: int) -> Contestants:
    """Return gloo's all-reduce, or nothing without torch."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{store_port}", rank=rank, world_size=size
    )

    def all_reduce(array: np.ndarray) -> None:
        torch.distributed.all_reduce(torch.from_numpy(array))

    return {"gloo": all_reduce}


def count_calls(ring: Ring, contestants: Contestants, array: np.ndarray) -> int:
    """Warm all contestants up; return how many calls of the slowest make a round, for all ranks."""
    slowest = 0.0
    for all_reduce in contestants.values():
        times = []
        for _ in range(5):
            array.fill(0)
            begin = time.perf_counter()
            all_reduce(array)
            times.append(time.perf_counter() - begin)
        slowest = max(slowest, statistics.median(times))
    calls = int(min(max(ROUND_SECONDS / slowest, CALLS[0]), CALLS[1]))
    return int(bytes(ring.broadcast(str(calls).encode() if ring.rank == 0 else None)))


def one_round(
    work: Callable[[np.ndarray], None], array: np.ndarray, calls: int, mine: int, total: int
) -> float:
    """Return the median seconds of one call; check the sums, where sums are made."""
    times = []
    for _ in range(calls):
        array.fill(mine)
        begin = time.perf_counter()
        work(array)
        times.append(time.perf_counter() - begin)
        if total and (array[0] != total or array[-1] != total):
            raise ValueError(f"a wrong sum: {array[0]}, {array[-1]}")
    return statistics.median(times)


def summary(rounds: Rounds) -> str:
    """Return the median, least and greatest round of each, and how much faster memory is."""
    names = list(next(iter(rounds.values())))
    rivals = [name for name in names if name != "memory"]
    rows = []
    for size, contestants in rounds.items():
        ours = statistics.median(contestants["memory"])
        ratios = [f"{statistics.median(contestants[name]) / ours:.2f}" for name in rivals]
        rows.append([size, *(spread(contestants[name]) for name in names), *ratios])
    heads = [f"{name}, ms (min-max)" for name in names]
    return table(["size", *heads, *(f"{name} / memory" for name in rivals)], rows)


def spread(values: list[float]) -> str:
    """Return ``median (least-greatest)`` in milliseconds."""
    middle = statistics.median(values)
    return f"{middle * 1e3:.3f} ({min(values) * 1e3:.3f}-{max(values) * 1e3:.3f})"


def raw(rounds: Rounds) -> str:
    """Return every round's median."""
    lines = ["Median of each round, ms:", ""]
    for size, contestants in rounds.items():
        for contestant, values in contestants.items():
            figures = " ".join(f"{value * 1e3:.3f}" for value in values)
            lines.append(f"- {size}, {contestant}: {figures}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
