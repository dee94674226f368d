"""The task's messages to this child, taken by the threads that they are for.

Several threads wait for messages: the one that connects to the peers, and the main thread. A job
may fail before the messages that its threads wait for have arrived. So each message belongs to one
job. If a thread of a failed job took a message of the next job, that job would wait for it forever.
"""

import threading
import time
from collections import deque
from typing import TypeVar

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.pipe import HandOver, Predict, Prepare, RunJob, ToChild

#: What begins something new: what is left of earlier jobs is of no more use then.
Begins = RunJob | Predict | Prepare | HandOver
M = TypeVar("M")


class Mailbox:
    """Messages in the order in which they arrived, each with the number of its job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, ToChild]] = deque()
        self._newest = 0

    def put(self, message: ToChild) -> None:
        """Add a message; those after a `RunJob` or `Predict` belong to that job."""
        with self._changed:
            if isinstance(message, Begins):
                self._newest += 1
            self._waiting.append((self._newest, message))
            self._changed.notify_all()

    def next_job(self) -> tuple[Begins, "Letters"]:
        """Wait for a job; return its message, and what its threads take further ones from.

        What is left of earlier jobs is dropped.
        """
        with self._changed:
            while True:
                while self._waiting:
                    job, message = self._waiting.popleft()
                    if isinstance(message, Begins):
                        return message, Letters(self, job)
                # no limit: a warm child waits for hours, and its task's end ends it
                self._changed.wait()

    def take(self, job: int, kinds: tuple[type[M], ...], seconds: float | None = None) -> M:
        """Wait for the first message of some kinds; see `Letters.take`."""
        until = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while True:
                for one in self._waiting:
                    if one[0] == job and isinstance(one[1], kinds):
                        self._waiting.remove(one)
                        return one[1]
                # A task begins a job when nothing of the one before it is still to come.
                if self._newest > job:
                    raise PeerLostError("the task has begun another job")
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                # no limit: rows may take hours to come, and the task's end ends this process
                self._changed.wait(left)


class Letters:
    """The messages of one job."""

    def __init__(self, mailbox: Mailbox, job: int) -> None:
        self._mailbox, self._job = mailbox, job

    def take(self, *kinds: type[M], seconds: float | None = None) -> M:
        """Wait for the first message of one of these kinds, and take it.

        Parameters
        ----------
        *kinds : type
        seconds : float or None
            How long to wait; None: until the job is over.

        Raises
        ------
        PeerLostError
            If the job is over: the task has begun another.
        TimeoutError
            If none has come within the seconds.
        """
        return self._mailbox.take(self._job, kinds, seconds)
