"""A worker's connection to the driver: progress and log lines, authenticated and maybe encrypted.

Losing this connection loses a progress bar, never a job: every failure here ends only the
reporting. The driver also uses it to send each worker the others' addresses (`rendezvous.py`).
"""

import contextlib
import logging
import math
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from zoo.orca.encryption.line import open_line
from zoo.orca.encryption.tls import contexts_of
from zoo.orca.errors import OrcaError
from zoo.orca.wire.handshake import HandshakeError, drive, initiate
from zoo.orca.wire.messages.codec import MessageError
from zoo.orca.wire.messages.line import (
    FROM_DRIVER,
    AskToGather,
    Hello,
    Leaving,
    Met,
    Over,
    Present,
    ToDriver,
)
from zoo.orca.wire.messages.pipe import Address
from zoo.orca.wire.messages.progress import Decided, EpochRecorded, LogLine, Phase
from zoo.orca.wire.report import REPORT_PURPOSE, ReportTo

_CONNECT_SECONDS = 5.0
_RETRY_SECONDS = 0.2
_LAST_WORDS_SECONDS = 2.0
#: Messages that wait to be sent.
_MOST_QUEUED = 10_000
Send = Callable[[bytes], None]
_logger = logging.getLogger(__name__)


class Reporter:
    """Sends messages to the driver from its own thread; `send` never blocks or raises.

    Parameters
    ----------
    to : ReportTo or None
        None: there is no listener, and everything is dropped.
    rank : int
    host : str
        The worker's.
    """

    def __init__(self, to: ReportTo | None, rank: int, host: str = "") -> None:
        self._to, self._rank, self._host = to, rank, host
        self._address = f"{to.host}:{to.port}" if to is not None else "(it does not listen)"
        self._queue: queue.SimpleQueue[ToDriver | None] = queue.SimpleQueue()
        self._on_answer: Callable[[Met | Over | None], None] = lambda answer: None
        self._on_decision: Callable[[Decided], None] | None = None
        self._deciding = threading.Lock()
        self._lost = False
        self._dropped = 0
        self._until = math.inf
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        if to is not None:
            self._thread.start()

    def send(self, message: ToDriver) -> None:
        """Queue one message; drop it if there is no listener or the connection is too slow.

        For printed lines, the driver learns how many were dropped. Epochs are few, and are kept.
        """
        if self._to is None:
            return
        if self._queue.qsize() < _MOST_QUEUED or isinstance(message, EpochRecorded):
            self._queue.put(message)
        else:
            self._drop(message)

    def phase(self, text: str) -> None:
        """Report this worker's current phase."""
        self.send(Phase(text=text))

    def log(self, line: str) -> None:
        """Report one line of the child's log."""
        self.send(LogLine(text=line))

    def meet(
        self,
        task: int,
        size: int,
        address: Address | None,
        on_answer: Callable[[Met | Over | None], None],
    ) -> None:
        """Send this worker's address to the driver.

        Another thread calls `on_answer` with each answer of the driver, and with None if there is
        no connection or it ends.
        """
        with self._lock:
            self._on_answer = on_answer
            lost = self._lost or self._to is None
        if lost:
            on_answer(None)
        self.send(Present(task=task, size=size, address=address))

    def ask_to_gather(self, stage: int, task: int) -> None:
        """Ask the driver to let all workers of a task's attempt enter Spark's `allGather`."""
        self.send(AskToGather(stage=stage, task=task))

    def hand_decisions_to(self, take: Callable[[Decided], None] | None) -> None:
        """Hand on the driver's decisions, or that none will come; None: to nobody any more.

        Another thread calls `take`, and not after another call of this has returned.
        """
        with self._deciding:
            self._on_decision = take
        with self._lock:  # not before: a line that is lost meanwhile must not go unnoticed
            lost = self._lost or self._to is None
        if lost:
            self._decide(self._no_decision())

    def _decide(self, decided: Decided) -> None:
        with self._deciding:
            if self._on_decision is not None:
                self._on_decision(decided)

    def _no_decision(self) -> Decided:
        return Decided(
            epoch=0,
            problem=f"stop is asked on the driver after each epoch, and the worker on {self._host} "
            f"has no line to the driver {self._address}\nOpen this port of the driver to the "
            "workers; or leave stop out, and give callbacks, which run on the workers",
        )

    def close(self) -> None:
        """Send what is queued, for a short time, and disconnect."""
        if self._to is not None and self._thread.is_alive():
            self._until = time.monotonic() + _LAST_WORDS_SECONDS
            self._queue.put(None)
            self._thread.join(max(0.1, self._until - time.monotonic()))

    def _run(self) -> None:
        if self._to is None:
            return
        try:
            line, send, stream = self._connected(self._to)
            with line:
                # no limit: the driver has nothing to say for hours, and reads what it is sent
                line.settimeout(None)
                threading.Thread(target=self._listen, args=(stream,), daemon=True).start()
                # no limit: a thread of its own, which `close` ends
                while (message := self._queue.get()) is not None:
                    self._forward(message, send)
                self._own_up(send)
                send(Leaving().to_line())
                line.shutdown(socket.SHUT_WR)  # the listening thread ends when the driver hangs up
        except (OSError, OrcaError) as error:
            _logger.warning("no progress from rank %d: the driver's %s", self._rank, error)
            self._to = None
            self._lose()

    def _connected(self, to: ReportTo) -> tuple[socket.socket, Send, BinaryIO]:
        """Return an authenticated connection, what sends over it, and the stream of what arrives.

        A driver to which many strangers connect may hang up on a worker that is slow to prove
        itself. Then the worker connects again.
        """
        until, contexts = time.monotonic() + _CONNECT_SECONDS, contexts_of(to.identity)
        while True:
            line = socket.create_connection((to.host, to.port), _CONNECT_SECONDS)
            hello = Hello(rank=self._rank, host=self._host).to_text().encode()
            greeting = initiate(to.secret, hello, purpose=REPORT_PURPOSE)
            try:
                send, stream = open_line(line, contexts, accepts=False, seconds=_CONNECT_SECONDS)
                drive(greeting, send, stream.read)
                return line, send, stream
            except (OSError, HandshakeError) as error:
                line.close()
                if isinstance(error, TimeoutError) or time.monotonic() > until:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _forward(self, message: ToDriver, send: Send) -> None:
        if isinstance(message, LogLine) and time.monotonic() > self._until:
            self._drop(message)
            return
        send(message.to_line())
        if self._queue.empty():
            self._own_up(send)

    def _drop(self, message: ToDriver) -> None:
        if isinstance(message, LogLine):
            with self._lock:
                self._dropped += 1

    def _own_up(self, send: Send) -> None:
        """Report the number of dropped lines in place of the next one."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            text = f"({dropped:,} more lines were printed here than the driver could take)"
            send(LogLine(text=text).to_line())

    def _listen(self, stream: BinaryIO) -> None:
        try:
            with stream, contextlib.suppress(OSError, MessageError):
                for line in stream:  # no limit: a thread of its own, which ends with the connection
                    answer = FROM_DRIVER.from_text(line)
                    if isinstance(answer, Decided):
                        self._decide(answer)
                    else:
                        self._on_answer(answer)
        finally:  # whatever ends this thread, nobody must wait for more
            self._lose()

    def _lose(self) -> None:
        """Tell current and later waiters that no answer will come."""
        with self._lock:
            self._lost = True
            on_answer = self._on_answer
        on_answer(None)
        self._decide(self._no_decision())
