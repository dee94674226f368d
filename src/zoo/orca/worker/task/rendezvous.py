"""How the tasks of a stage learn where each other's children listen.

There are two ways. The driver answers over the progress connection as soon as it has heard from all
tasks. Spark's `allGather` needs no such connection, but polls once a second, and a task must not
end before it has the answer. So a job over few rows would mostly wait.

All tasks enter the `allGather`, or none does, because each waits for all others. So the driver
decides for all. Its answer goes to every task at once and says whether to enter: yes if any task
asked. A task asks when the answer takes long, because another task may have no connection and be
waiting in the `allGather` already. A task without a connection enters by itself.

If a connection breaks before the answer arrives, that task alone enters. The other children then
fail to connect to its child within their limit, and their tasks end. Spark does not tell a task in
the `allGather` of tasks that have ended, and would let it wait for a year. So it has a limit here.

A task of which Spark could not fetch the rows never comes. Spark begins the stage again, but leaves
the others where they are, on slots that the new attempt may need. So a task that waits asks the
driver again and again whether its attempt is over, and then ends.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.line import GATHERED, Met, Over
from zoo.orca.wire.messages.pipe import Address, Listening
from zoo.orca.worker.task.reporting import Reporter

#: Seconds until a task asks for the `allGather`. Children rarely start further apart. If they do,
#: the second in the `allGather` overlaps with the training.
_PATIENCE: Final = 2.0
#: Seconds within which a healthy driver has answered.
_LIMIT: Final = 10.0
#: Seconds by which Spark's tasks may begin apart: an executor may first fetch the job's files.
_APART: Final = 600.0

#: Takes the addresses of all ranks, by rank.
Tell = Callable[[Sequence[Address | None]], None]


class AttemptOverError(Exception):
    """Spark has given up this attempt of the stage.

    The task raises it. What it returned as a row would be taken for its result.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One task of one attempt of a stage.

    Parameters
    ----------
    stage, task : int
        The numbers that Spark gave the stage, and this attempt of the task.
    size : int
        Tasks of the stage.
    """

    stage: int
    task: int
    size: int


class Rendezvous:
    """One task's part in the rendezvous.

    Parameters
    ----------
    all_gather : callable
        Spark's: takes this task's text, returns all tasks' texts by rank.
    reporter : Reporter
    attempt : Attempt
    connect_timeout : float
        Seconds for the other tasks' children to listen, once their tasks have begun.

    Attributes
    ----------
    limit : float
        Seconds within which `meet` ends.
    """

    def __init__(
        self,
        all_gather: Callable[[str], Sequence[str]],
        reporter: Reporter,
        attempt: Attempt,
        connect_timeout: float,
    ) -> None:
        self._all_gather, self._reporter = all_gather, reporter
        self._attempt = attempt
        self._gather_limit = _APART + connect_timeout
        self.limit = _PATIENCE + _LIMIT + self._gather_limit
        self._tell: Tell = lambda addresses: None
        self._enters = self._is_over = False
        self._lock = threading.Lock()
        self._decided = threading.Event()

    def meet(self, address: Address | None, tell: Tell) -> None:
        """Call `tell` once with all addresses; return when Spark may see the task end.

        Parameters
        ----------
        address : tuple of str and int, or None
            Where this task's child listens; None if it did not start.
        tell : callable
            Takes the addresses, by rank. Called from this thread or from the reporter's.

        Raises
        ------
        PeerLostError
            If not all tasks have come within the limit.
        AttemptOverError
            If Spark has given up this attempt.
        """
        if self._attempt.size == 1:
            tell([address])
            return
        self._tell = _once(tell)
        self._reporter.meet(self._attempt.task, self._attempt.size, address, self._answer)
        if not self._decided.wait(_PATIENCE):
            self._ask()
            self._decided.wait(_LIMIT)
        self._check()
        if self._enters or not self._decided.is_set():
            told = self._gathered(Listening(address=address).to_text())
            self._tell([GATHERED.from_text(text).address for text in told])

    def _gathered(self, own: str) -> Sequence[str]:
        """Return what all tasks pass to Spark's `allGather`, which itself has no limit."""
        answers: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._all_gather(own))
            except Exception as error:  # any error of Spark's must reach the task
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        answer = self._first_of(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _first_of(
        self, answers: "queue.SimpleQueue[Sequence[str] | Exception]"
    ) -> Sequence[str] | Exception:
        """Return Spark's answer; meanwhile ask the driver whether anybody is still to come."""
        deadline = time.monotonic() + self._gather_limit
        while (left := deadline - time.monotonic()) > 0:
            try:
                return answers.get(timeout=min(left, _PATIENCE))
            except queue.Empty:
                self._check()
                self._ask()
        raise PeerLostError(
            f"not all of the {self._attempt.size} workers have come within "
            f"{self._gather_limit:.0f} s\nSpark's pages show which task has failed or has not "
            "begun; where tasks begin so far apart, raise spark.orca.connect.timeout"
        )

    def _ask(self) -> None:
        self._reporter.ask_to_gather(self._attempt.stage, self._attempt.task)

    def _check(self) -> None:
        if self._is_over:
            raise AttemptOverError("another task of this attempt of the stage has failed")

    def _answer(self, answer: Met | Over | None) -> None:
        """Handle the driver's answer; None if the connection is lost or never existed."""
        met = answer if isinstance(answer, Met) else None
        with self._lock:  # two threads notice when a connection ends
            self._is_over = self._is_over or (answer is not None and met is None)
            if not self._decided.is_set():
                self._enters = answer is None or (met is not None and met.gather)
                self._decided.set()
        if met is not None and met.addresses is not None:
            self._tell(met.addresses)


def _once(tell: Tell) -> Tell:
    lock = threading.Lock()
    told: list[bool] = []

    def first(addresses: Sequence[Address | None]) -> None:
        with lock:
            if not told:
                told.append(True)
                tell(addresses)

    return first
