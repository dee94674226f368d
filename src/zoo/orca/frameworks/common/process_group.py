"""How the ranks of a ring meet in a process group of PyTorch's."""

import json
import os
import secrets
import socket
from datetime import timedelta
from typing import Any, NamedTuple

from zoo.orca.wire.processors import VISIBLE_GPUS
from zoo.orca.worker.collective.ring import Ring


class Meeting(NamedTuple):
    """Where ranks find each other: the store, and the place where it listens."""

    store: Any
    host: str
    port: int


def meeting(ring: Ring | None, timeout: float) -> Meeting:
    """Return the store through which torch's ranks find each other; called on all ranks.

    Parameters
    ----------
    ring : Ring or None
        None for a single rank.
    timeout : float
        Seconds to wait for the last rank.
    """
    from torch import distributed

    rank, size, host = (ring.rank, ring.size, ring.host) if ring else (0, 1, "127.0.0.1")
    token = secrets.token_hex(32).encode()
    port, handle = 0, None
    if rank == 0:
        listener = socket.create_server((host, 0))
        port = listener.getsockname()[1]
        handle = listener.detach()  # the store owns it from here on
    if ring is not None:
        token = bytes(ring.broadcast(token if rank == 0 else None))
        told = json.dumps([host, port]).encode()
        host, port = json.loads(bytes(ring.broadcast(told if rank == 0 else None)))
    store = distributed.TCPStore(
        host,
        port,
        world_size=size,
        is_master=rank == 0,
        timeout=timedelta(seconds=timeout),
        master_listen_fd=handle,
    )
    return Meeting(distributed.PrefixStore(token.decode(), store), host, port)


def same_gpu_twice(ring: Ring) -> bool:
    """Whether ranks share a GPU, as they may in local mode; called on all ranks."""
    first = os.environ.get(VISIBLE_GPUS, "0").partition(",")[0]
    told = ring.all_gather(json.dumps([ring.host, first]).encode())
    return len({bytes(place) for place in told}) < ring.size
