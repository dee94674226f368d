"""Ranks of this machine that are as if on hosts of their own."""

import json
from typing import Any

from tests.frameworks.ranks import Ran, train_here
from zoo.orca.worker.collective.protocol import Collective
from zoo.orca.worker.collective.ring import Listener, Ring
from zoo.orca.worker.plugin import Rows


def apart(job: Any, rows: Rows, collective: Collective) -> Ran:
    """Train over sockets between addresses that differ; called on all ranks."""
    listener = Listener(f"127.0.0.{1 + collective.rank}")
    told = collective.all_gather(json.dumps(listener.address).encode())
    addresses = [tuple(json.loads(bytes(one))) for one in told]
    ring = Ring.connect(listener, collective.rank, addresses, b"of the tests".ljust(32, b"."))
    try:
        ran = train_here(job, rows, None, ring)
        ring.barrier()
        return ran
    finally:
        ring.close()
