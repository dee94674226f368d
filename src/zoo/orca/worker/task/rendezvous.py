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
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from zoo.orca.errors import PeerLostError
from zoo.orca.wire.messages.line import GATHERED, Met
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


class Rendezvous:
    """One task's part in the rendezvous.

    Parameters
    ----------
    all_gather : callable
        Spark's: takes this task's text, returns all tasks' texts by rank.
    reporter : Reporter
    task : int
        The number that Spark gave this attempt of the task.
    size : int
        Tasks of the stage.
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
        task: int,
        size: int,
        connect_timeout: float,
    ) -> None:
        self._all_gather, self._reporter = all_gather, reporter
        self._task, self._size = task, size
        self._gather_limit = _APART + connect_timeout
        self.limit = _PATIENCE + _LIMIT + self._gather_limit
        self._tell: Tell = lambda addresses: None
        self._enters = False
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
        try:
            answer = answers.get(timeout=self._gather_limit)
        except queue.Empty:
            raise PeerLostError(
                f"not all of the {self._size} workers have come within {self._gather_limit:.0f} s\n"
                "Spark's pages show which task has failed or has not begun; where tasks begin so "
                "far apart, raise spark.orca.connect.timeout"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, answer: Met | None) -> None:
        """Handle the driver's answer; None if the connection is lost or never existed."""
        with self._lock:  # two threads notice when a connection ends
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
