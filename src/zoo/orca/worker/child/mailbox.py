"""The task's messages to this child, taken by the threads that they are for.

Several threads wait for messages: the one that connects to the peers, and the main thread. A job
may fail before the messages that its threads wait for have arrived. So each message belongs to one
job. If a thread of a failed job took a message of the next job, that job would wait for it forever.
"""

import threading
from collections import deque
from typing import TypeVar

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.pipe import Abort, Predict, RunJob, ToChild

M = TypeVar("M")


class Mailbox:
    """Messages in the order in which they came; those of a job that is over are dropped."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[ToChild] = deque()
        self._job = 0

    def put(self, message: ToChild) -> None:
        """Add a message; a new job, or the end of one, drops what is left of the job before it."""
        with self._changed:
            if isinstance(message, RunJob | Predict | Abort):
                self._job += 1
                self._waiting.clear()
            if not isinstance(message, Abort):
                self._waiting.append(message)
            self._changed.notify_all()

    def next_job(self) -> tuple[RunJob | Predict, "Letters"]:
        """Wait for a job; return its message, and what its threads take further ones from."""
        with self._changed:
            while True:
                if self._waiting and isinstance(self._waiting[0], RunJob | Predict):
                    first = self._waiting.popleft()
                    if isinstance(first, RunJob | Predict):
                        return first, Letters(self, self._job)
                self._changed.wait()

    def take(self, job: int, kinds: tuple[type[M], ...]) -> M:
        """Wait for the first message of some kinds; see `Letters.take`."""
        with self._changed:
            while self._job == job:
                for message in self._waiting:
                    if isinstance(message, kinds):
                        self._waiting.remove(message)
                        return message
                self._changed.wait()
        raise PeerLostError("the task ended this job")


class Letters:
    """The messages of one job."""

    def __init__(self, mailbox: Mailbox, job: int) -> None:
        self._mailbox, self._job = mailbox, job

    def take(self, *kinds: type[M]) -> M:
        """Wait for the first message of one of these kinds, and take it.

        Raises
        ------
        PeerLostError
            If the job is over: the task has ended it, or begun another.
        """
        return self._mailbox.take(self._job, kinds)
