"""How the tasks of a stage learn where each other's children listen.

Two ways lead there. The driver, on the line that carries progress, answers as soon as it has heard
of all. Spark's `allGather` needs no such line, but looks for its answer once a second, and a task
must not end before it is read: a job over few rows would wait for little else.

All tasks enter the `allGather`, or none does: one that never comes is waited for by all others. So
the driver decides for all. Its answer goes to everyone at once and says whether to enter; and it
says yes if any task has asked for it before. A task asks when the answer is long in coming, because
another may have no line and be waiting in the `allGather` already; a task without a line enters it
by itself. If a line breaks between the driver's answer and the task, that task alone enters, and
the others miss its child within their limit for connecting: an error, and no hang.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Final

from zoo.orca.wire.messages.line import GATHERED, Met
from zoo.orca.wire.messages.pipe import Address, Listening
from zoo.orca.worker.task.reporting import Reporter

#: Seconds until a task asks for the `allGather`. Children rarely start further apart than that, and
#: where they do, the second in the `allGather` passes beside the training.
_PATIENCE: Final = 2.0
#: Seconds in which a driver that is well has answered.
_LIMIT: Final = 10.0

#: Takes the addresses of all ranks, by rank.
Tell = Callable[[Sequence[Address | None]], None]


class Rendezvous:
    """One task's part in the meeting.

    Parameters
    ----------
    all_gather : callable
        Spark's: takes this task's text, returns those of all, by rank.
    reporter : Reporter
    task : int
        The number Spark gave this attempt of the task.
    size : int
        Tasks of the stage.
    """

    def __init__(
        self, all_gather: Callable[[str], Sequence[str]], reporter: Reporter, task: int, size: int
    ) -> None:
        self._all_gather, self._reporter = all_gather, reporter
        self._task, self._size = task, size
        self._tell: Tell = lambda addresses: None
        self._enters = False
        self._lock = threading.Lock()
        self._decided = threading.Event()

    def meet(self, address: Address | None, tell: Tell) -> None:
        """Call `tell` once with all addresses; return when Spark may see the task end.

        Parameters
        ----------
        address : tuple of str and int, or None
            Where this task's child listens; None if it did not come up.
        tell : callable
            Takes the addresses, by rank. Called from this thread or from the reporter's.
        """
        if self._size == 1:
            tell([address])
            return
        self._tell = _once(tell)
        self._reporter.meet(self._task, self._size, address, self._answer)
        if not self._decided.wait(_PATIENCE):
            self._reporter.ask_to_gather()
            self._decided.wait(_LIMIT)
        if self._enters or not self._decided.is_set():
            told = self._all_gather(Listening(address=address).to_text())
            self._tell([GATHERED.from_text(text).address for text in told])

    def _answer(self, answer: Met | None) -> None:
        """Take what the driver says; None: the line is lost, or there was none."""
        with self._lock:  # a line that ends is noticed by two threads
            if not self._decided.is_set():
                self._enters = answer is None or answer.gather
                self._decided.set()
        if answer is not None and answer.addresses is not None:
            self._tell(answer.addresses)


def _once(tell: Tell) -> Tell:
    lock = threading.Lock()
    told: list[bool] = []

    def first(addresses: Sequence[Address | None]) -> None:
        with lock:
            if not told:
                told.append(True)
                tell(addresses)

    return first
