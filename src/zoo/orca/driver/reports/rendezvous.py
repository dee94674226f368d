"""Where the workers of a stage learn each other's addresses without waiting for Spark's barrier.

Spark's own rendezvous, `allGather`, looks for its answer once a second. The workers have a line to
the driver anyway, and are told here as soon as the last of them has come. The driver also decides
whether they enter the `allGather` beside it: all must, or none (`worker/task/rendezvous.py`).
"""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Reply = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _Present:
    """One rank that has come: its task's number, where it is, and whether it asks to gather."""

    task: int
    address: Any
    reply: Reply
    gathers: bool = False


class RendezvousPlace:
    """Collects the addresses of all ranks, then sends them to each.

    A stage that Spark starts again brings the same ranks with new addresses, and those of the two
    attempts must not mix. Spark numbers the tasks of a barrier stage one after another, at once, so
    ranks whose numbers have gaps are not of one attempt; and who hangs up is forgotten.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[int, _Present] = {}

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
            self._there[report["rank"]] = _Present(report["task"], report["address"], reply)
            tasks = [one.task for one in self._there.values()]
            if len(tasks) < size or max(tasks) - min(tasks) != size - 1:
                return
            present, self._there = self._there, {}
        addresses = [present[rank].address for rank in range(size)]
        gather = any(one.gathers for one in present.values())
        for one in present.values():
            _send(one.reply, {"addresses": addresses, "gather": gather})

    def gather(self, reply: Reply) -> None:
        """Let the rank that can be answered so enter the `allGather`, and all others with it.

        Too late once all have come: their answer is on its way, and says what everybody does.
        """
        with self._lock:
            mine = [rank for rank, one in self._there.items() if one.reply == reply]
            for rank in mine:
                self._there[rank] = replace(self._there[rank], gathers=True)
        if mine:
            _send(reply, {"gather": True})

    def leave(self, reply: Reply) -> None:
        """Forget the rank that could be answered so."""
        with self._lock:
            self._there = {rank: one for rank, one in self._there.items() if one.reply != reply}


def _send(reply: Reply, answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        reply(json.dumps(answer).encode() + b"\n")
