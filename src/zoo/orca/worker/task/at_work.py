"""Which workers are at work beside this one on its executor.

Fits of several threads, as of a search with trials side by side, share an executor's processors.
Nobody but the executor knows: the driver sees slots, and a stage sees its own tasks. So each worker
holds a socket for as long as it runs, whose name tells the others. It has no file: Spark may kill
the process at any time, and nothing may be left. Linux alone has such names.
"""

import contextlib
import re
import socket
from hashlib import sha256
from pathlib import Path

from zoo.orca.errors import OrcaError
from zoo.orca.worker.temporary import local_directory

_BOUND = Path("/proc/net/unix")


class AtWork:
    """One worker's mark, which others see until it is closed, or its process has died.

    Parameters
    ----------
    stage, rank : int
    executor : str, optional
        Tells executors of a host apart; by default Spark's directory for temporary files, which
        each has for itself.
    """

    def __init__(self, stage: int, rank: int, executor: str = "") -> None:
        self._stage = stage
        self._socket: socket.socket | None = None
        # Without a mark the job runs as well, only not as fast as it might beside others.
        with contextlib.suppress(OSError, OrcaError, AttributeError):
            key = sha256((executor or local_directory()).encode()).hexdigest()[:24]
            self._room = f"orca-at-work/{key}"
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(f"\0{self._room}/{stage}/{rank}")

    def others(self) -> int:
        """Return how many workers of other stages are at work on this executor."""
        if self._socket is None:
            return 0
        try:
            bound = _BOUND.read_text()
        except OSError:
            return 0
        stages = re.findall(rf"@{self._room}/(\d+)/", bound)
        return sum(int(stage) != self._stage for stage in stages)

    def close(self) -> None:
        """Remove the mark."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
