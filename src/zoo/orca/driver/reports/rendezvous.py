"""Tells the workers of a stage each other's addresses, without waiting for Spark's barrier.

Spark's own rendezvous, `allGather`, polls once a second. The workers are connected to the driver
anyway, and get the addresses here as soon as the last worker arrives. The driver also decides
whether they enter `allGather`: all must, or none (`worker/task/rendezvous.py`).
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from zoo.orca.wire.messages.line import AskToGather, FromDriver, Met, Over, Present
from zoo.orca.wire.messages.pipe import Address

Reply = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rank:
    """One rank that has arrived: its task's number, its address, whether it asks to gather."""

    task: int
    address: Address | None
    reply: Reply
    gathers: bool = False


class RendezvousPlace:
    """Collects the addresses of all ranks, then sends them to each.

    If Spark restarts a stage, the same ranks come with new addresses. Those of two attempts must
    not mix. Spark numbers the tasks of a barrier stage consecutively, all at once, so ranks whose
    numbers have gaps are not of one attempt. A rank that disconnects is forgotten.

    Parameters
    ----------
    is_over : callable
        Takes the numbers of a stage and of a task; returns whether Spark has given up the attempt
        that the task is of. Spark itself does not tell the tasks if one of theirs could not read
        its rows. They would wait for it in `allGather`, on slots that the next attempt needs.
    """

    def __init__(self, is_over: Callable[[int, int], bool] = lambda stage, task: False) -> None:
        self._is_over = is_over
        self._lock = threading.Lock()
        self._there: dict[int, _Rank] = {}

    def join(self, rank: int, present: Present, reply: Reply) -> None:
        """Note the address of one rank; the last rank triggers the replies.

        Parameters
        ----------
        rank : int
        present : Present
        reply : callable
            Sends a line to that rank; may raise OSError.
        """
        size = present.size
        with self._lock:
            self._there[rank] = _Rank(task=present.task, address=present.address, reply=reply)
            tasks = [one.task for one in self._there.values()]
            if len(tasks) < size or max(tasks) - min(tasks) != size - 1:
                return
            all_there, self._there = self._there, {}
        addresses = tuple(all_there[rank].address for rank in range(size))
        gather = any(one.gathers for one in all_there.values())
        for one in all_there.values():
            _send(one.reply, Met(gather=gather, addresses=addresses))

    def gather(self, ask: AskToGather, reply: Reply) -> None:
        """Let the rank behind `reply` enter `allGather`, and all others with it.

        No-op once all ranks have arrived: their answer is on its way, the same for all. If its
        attempt is over, the rank is told that, however often it asks.
        """
        if self._is_over(ask.stage, ask.task):
            _send(reply, Over())
            return
        with self._lock:
            mine = [rank for rank, one in self._there.items() if one.reply == reply]
            for rank in mine:
                self._there[rank] = replace(self._there[rank], gathers=True)
        if mine:
            _send(reply, Met(gather=True))

    def leave(self, reply: Reply) -> None:
        """Forget the rank behind `reply`."""
        with self._lock:
            self._there = {rank: one for rank, one in self._there.items() if one.reply != reply}


def _send(reply: Reply, answer: FromDriver) -> None:
    with contextlib.suppress(OSError):
        reply(answer.to_line())
