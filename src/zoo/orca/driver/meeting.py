"""Where the workers of a stage learn each other's addresses without waiting for Spark's barrier.

Spark's own rendezvous, `allGather`, looks for its answer once a second. The workers have a line to
the driver anyway; whoever is told here need not wait. It is never relied upon: each worker takes
part in the `allGather` as well, and whichever answers first is good.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

Reply = Callable[[bytes], None]


class MeetingPlace:
    """Collects the addresses of all ranks, then sends them to each.

    A stage that Spark starts again brings the same ranks with new addresses, and those of the two
    attempts must not mix. Spark numbers the tasks of a barrier stage one after another, at once, so
    ranks whose numbers have gaps are not of one attempt; and who hangs up is forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[int, tuple[int, Any, Reply]] = {}

    def join(self, report: Mapping[str, Any], reply: Reply) -> None:
        """Note where one rank is; the last one to come sets off the replies.

        Parameters
        ----------
        report : mapping
            The `rank`, its `address`, the number of its `task`, and the `size` of the group.
        reply : callable
            Sends a line to that rank; may raise OSError.
        """
        size = report["size"]
        with self._lock:
            self._there[report["rank"]] = (report["task"], report["address"], reply)
            tasks = [task for task, _, _ in self._there.values()]
            if len(tasks) < size or max(tasks) - min(tasks) != size - 1:
                return
            present, self._there = self._there, {}
        addresses = [present[rank][1] for rank in range(size)]
        line = json.dumps({"addresses": addresses}).encode() + b"\n"
        for _, _, answer in present.values():
            with contextlib.suppress(OSError):
                answer(line)

    def leave(self, reply: Reply) -> None:
        """Forget the rank that could be answered so."""
        with self._lock:
            self._there = {rank: one for rank, one in self._there.items() if one[2] != reply}
