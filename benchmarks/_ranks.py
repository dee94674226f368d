"""One of several ranks on several hosts, without Spark: Orca's collective and gloo, in turns.

python benchmarks/_ranks.py RANK HOST

Prints the port it listens on and reads, as a line of JSON, the addresses of all and gloo's store.
Then it answers each line with a line: the median seconds of some all-reduces, and what Orca's
handed to the sockets.
"""

import json
import os
import statistics
import sys
import time
from typing import Any

import _paths  # noqa: F401
import numpy as np
from _network import CARD

from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.collective.sockets import Link

SECRET = b"only a benchmark".ljust(32, b".")


class Counts:
    """What the links of this process have sent."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0

    def watch(self) -> None:
        """Count from now on, in this process."""
        send = Link.send

        def counted(link: Link, *parts: Any) -> int:
            sent = send(link, *parts)
            self.messages += sent > 0
            self.bytes += sent
            return sent

        Link.send = counted  # type: ignore[method-assign]


def gloo(rank: int, size: int, store: tuple[str, int]) -> Any:
    """Return gloo's all-reduce over the same card."""
    os.environ["GLOO_SOCKET_IFNAME"] = CARD
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    method = f"tcp://{store[0]}:{store[1]}"
    torch.distributed.init_process_group("gloo", init_method=method, rank=rank, world_size=size)
    return lambda array: torch.distributed.all_reduce(torch.from_numpy(array))


def measured(work: Any, ring: Ring, size: int, counts: Counts, order: dict[str, Any]) -> Any:
    """Return what one contestant took, and sent a call."""
    array = np.empty(order["bytes"] // 4, np.float32)
    seconds = []
    ring.barrier()
    before = counts.messages, counts.bytes
    for _ in range(order["calls"]):
        array.fill(ring.rank + 1)
        began = time.perf_counter()
        work(array)
        seconds.append(time.perf_counter() - began)
        if array[0] != array[-1] or array[0] != size * (size + 1) // 2:
            raise ValueError(f"a wrong sum: {array[0]}, {array[-1]}")
    sent = counts.messages - before[0], counts.bytes - before[1]
    return {
        "seconds": statistics.median(seconds),
        "messages": sent[0] / order["calls"],
        "bytes": sent[1] / order["calls"],
    }


def main() -> None:
    """Be one rank."""
    rank, host = int(sys.argv[1]), sys.argv[2]
    listener = Listener(host)
    print(listener.address[1], flush=True)
    told = json.loads(sys.stdin.readline())
    addresses = [(place, port) for place, port in told["addresses"]]
    ring = Ring.connect(listener, rank, addresses, SECRET)
    works = {"orca": ring.all_reduce, "gloo": gloo(rank, len(addresses), tuple(told["store"]))}
    counts = Counts()
    counts.watch()
    print(type(ring._transport).__name__, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        found = measured(works[order["who"]], ring, len(addresses), counts, order)
        print(json.dumps(found), flush=True)
    ring.close()


if __name__ == "__main__":
    main()
