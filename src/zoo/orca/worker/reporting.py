"""A worker's line to the driver: progress and log lines, as JSON, over an authenticated socket.

Losing this line loses a progress bar, never a job: every failure here ends the reporting alone.
"""

import contextlib
import json
import logging
import queue
import socket
import threading
from typing import Any

from zoo.orca.errors import OrcaError
from zoo.orca.wire.handshake import drive, initiate
from zoo.orca.wire.report import REPORT_PURPOSE, ReportTo

_CONNECT_SECONDS = 5.0
_logger = logging.getLogger(__name__)


class Reporter:
    """Sends values to the driver from a thread of its own; `send` never blocks or raises.

    Parameters
    ----------
    to : ReportTo or None
        None: nobody listens, everything is dropped.
    rank : int
    """

    def __init__(self, to: ReportTo | None, rank: int) -> None:
        self._to, self._rank = to, rank
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(10_000)
        self._thread = threading.Thread(target=self._run, daemon=True)
        if to is not None:
            self._thread.start()

    def send(self, values: dict[str, Any]) -> None:
        """Queue one report; dropped when nobody listens or the line is too slow."""
        if self._to is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait({**values, "rank": self._rank})

    def phase(self, text: str) -> None:
        """Report what this worker is doing now."""
        self.send({"kind": "phase", "text": text})

    def log(self, line: str) -> None:
        """Report one line of the child's log."""
        self.send({"kind": "log", "text": line})

    def close(self) -> None:
        """Send what is queued, for a moment, and hang up."""
        if self._to is not None and self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join(2.0)

    def _run(self) -> None:
        if self._to is None:
            return
        try:
            with socket.create_connection((self._to.host, self._to.port), _CONNECT_SECONDS) as line:
                hello = json.dumps({"rank": self._rank}).encode()
                greeting = initiate(self._to.secret, hello, purpose=REPORT_PURPOSE)
                drive(greeting, line.sendall, line.makefile("rb").read)
                line.settimeout(None)
                while (values := self._queue.get()) is not None:
                    line.sendall(json.dumps(values).encode() + b"\n")
        except (OSError, OrcaError) as error:
            _logger.warning("no progress from rank %d: the driver's %s", self._rank, error)
            self._to = None
