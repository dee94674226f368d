"""One all-reduce: Orca's ring against gloo (torch.distributed), in turns in one run.

    python benchmarks/allreduce.py [--processes 2] [--rounds 9] [--output FILE]

Both contestants live in the same processes and take turns, round by round, so that whatever else
the machine does disturbs both. A round's figure is its median over many calls; a line of the table
is the median, least and greatest of the rounds. gloo comes with torch, which nothing else here
needs; without it only our own times are printed.
"""

import argparse
import importlib.util
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

SOURCES = Path(__file__).resolve().parents[1] / "src"
if SOURCES.is_dir():
    sys.path.insert(0, str(SOURCES))

from zoo.orca.worker.ring import Listener, Ring  # noqa: E402

SIZES = {"256 B": 256, "164 KB": 164_000, "1.28 MB": 1_280_000, "12.8 MB": 12_800_000}
#: Seconds of one round of one contestant, roughly; calls are counted from it.
ROUND_SECONDS = 0.4
CALLS = (9, 1000)
SECRET = b"only a benchmark".ljust(32, b".")

Contestants = dict[str, Callable[[np.ndarray], None]]
Rounds = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print a table, write it to a file."""
    arguments = parse()
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: gloo does not take part (pip install torch)")
    rounds = measure(arguments.processes, arguments.rounds)
    lines = [*machine(arguments), "", *table(rounds), "", *raw(rounds)]
    text = "\n".join(lines) + "\n"
    print(text)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.output is None:
        suffix = "" if arguments.processes == 2 else f"_{arguments.processes}"
        arguments.output = Path(__file__).parent / "results" / f"allreduce{suffix}.md"
    return arguments


def measure(processes: int, rounds: int) -> Rounds:
    """Start the processes and return rank 0's medians in seconds: size -> contestant -> rounds."""
    context = multiprocessing.get_context("spawn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        store_port = probe.getsockname()[1]
    pipes, ranks = [], []
    for rank in range(processes):
        pipe, theirs = context.Pipe()
        arguments = (rank, processes, rounds, store_port, theirs)
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


def run_rank(rank: int, size: int, rounds: int, store_port: int, pipe: Connection) -> None:
    """Be one rank of both contestants."""
    listener = Listener()
    pipe.send(listener.address)
    ring = Ring.connect(listener, rank, pipe.recv(), SECRET)
    contestants: Contestants = {"orca": ring.all_reduce, **gloo(rank, size, store_port)}
    results: Rounds = {}
    for name, nbytes in SIZES.items():
        array = np.empty(nbytes // 4, np.float32)
        calls = count_calls(ring, contestants, array)
        results[name] = {contestant: [] for contestant in contestants}
        for _ in range(rounds):
            for contestant, all_reduce in contestants.items():
                ring.barrier()
                results[name][contestant].append(one_round(all_reduce, array, calls, size, rank))
    pipe.send(results)
    ring.close()


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
    all_reduce: Callable[[np.ndarray], None], array: np.ndarray, calls: int, size: int, rank: int
) -> float:
    """Return the median seconds of one call; check the sums."""
    times = []
    for _ in range(calls):
        array.fill(rank + 1)
        begin = time.perf_counter()
        all_reduce(array)
        times.append(time.perf_counter() - begin)
        if array[0] != size * (size + 1) / 2 or array[-1] != array[0]:
            raise ValueError(f"a wrong sum: {array[0]}, {array[-1]}")
    return statistics.median(times)


def machine(arguments: argparse.Namespace) -> list[str]:
    """Say what was run, and where."""
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    if importlib.util.find_spec("torch") is not None:
        import torch

        versions += f", torch {torch.__version__}"
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    command = f"python benchmarks/allreduce.py --processes {arguments.processes}"
    return [
        "# One all-reduce of float32",
        "",
        f"`{command} --rounds {arguments.rounds}`, {date.today()}",
        "",
        f"{versions}; {platform.system()} {platform.release()} on {platform.machine()}, "
        f"{os.cpu_count()} processors, {arguments.processes} processes on one host, "
        f"load average afterwards {load}",
    ]


def table(rounds: Rounds) -> list[str]:
    """Return the median, least and greatest round of each, and how much faster we are."""
    lines = ["| size | orca, ms (min-max) | gloo, ms (min-max) | gloo / orca |"]
    lines.append("|---|---|---|---|")
    for size, contestants in rounds.items():
        ours = contestants["orca"]
        theirs = contestants.get("gloo")
        ratio = f"{statistics.median(theirs) / statistics.median(ours):.1f}" if theirs else "-"
        lines.append(f"| {size} | {spread(ours)} | {spread(theirs)} | {ratio} |")
    return lines


def spread(values: list[float] | None) -> str:
    """Return ``median (least-greatest)`` in milliseconds."""
    if not values:
        return "-"
    middle = statistics.median(values)
    return f"{middle * 1e3:.3f} ({min(values) * 1e3:.3f}-{max(values) * 1e3:.3f})"


def raw(rounds: Rounds) -> list[str]:
    """Return every round's median."""
    lines = ["Median of each round, ms:", ""]
    for size, contestants in rounds.items():
        for contestant, values in contestants.items():
            figures = " ".join(f"{value * 1e3:.3f}" for value in values)
            lines.append(f"- {size}, {contestant}: {figures}")
    return lines


if __name__ == "__main__":
    main()
