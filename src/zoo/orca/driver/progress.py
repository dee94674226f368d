"""What the user sees while a stage runs: a listener for the workers' reports, and displays.

The only file of the package that prints.
"""

import contextlib
import json
import logging
import secrets
import socket
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, Self

from pyspark.sql import SparkSession

from zoo.orca.driver.cluster import is_connect, is_local
from zoo.orca.driver.meeting import MeetingPlace
from zoo.orca.errors import OrcaError
from zoo.orca.wire.handshake import accept, drive
from zoo.orca.wire.report import REPORT_PURPOSE, ReportTo

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm falls back to a text bar, and warns; the bar is enough.
    warnings.simplefilter("ignore")
    from tqdm.auto import tqdm

_HANDSHAKE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 1.0
_logger = logging.getLogger(__name__)


class Display(Protocol):
    """Shows reports; `report` has the fields of `zoo.orca.wire.job.Progress`."""

    def show(self, report: Mapping[str, Any]) -> None:
        """Show one report."""

    def close(self) -> None:
        """Leave the terminal tidy."""


class Silent:
    """Shows nothing."""

    def show(self, report: Mapping[str, Any]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Have nothing to tidy."""


class Lines:
    """Shows plain lines: for files, pipes and continuous integration.

    Parameters
    ----------
    title : str
        What is running.
    name : str
        The user's label for it, at the head of each line; or nothing.
    """

    def __init__(self, title: str, name: str = "") -> None:
        self._title = name or title
        self._label = f"{name}: " if name else ""
        self._phases: set[str] = set()

    def show(self, report: Mapping[str, Any]) -> None:
        """Print a line for what is worth one: phases once, epochs, warnings, the workers' log."""
        kind = report["kind"]
        if kind == "phase" and report["text"] not in self._phases:
            self._phases.add(report["text"])
            say(f"{self._title}: {report['text']}")
        elif kind == "epoch":
            say(f"{self._label}Epoch {report['epoch'] + 1}/{report['epochs']}")
        elif kind == "epoch_end":
            say(self._label + epoch_line(report))
        else:
            _show_text(report, self._label)

    def close(self) -> None:
        """Have nothing to tidy."""


class Bars:
    """Shows one bar an epoch, on a terminal or in a notebook (`tqdm.auto` finds out which).

    Parameters
    ----------
    title, name : str
        As of `Lines`.
    """

    def __init__(self, title: str, name: str = "") -> None:
        self._title = name or title
        self._label = f"{name}: " if name else ""
        self._bar: Any = None
        self._phase: Any = None

    def show(self, report: Mapping[str, Any]) -> None:
        """Move the bar, or print a line above it."""
        kind = report["kind"]
        if kind == "phase" and self._bar is None:
            self._show_phase(report["text"])
        elif kind == "epoch":
            self._begin(report)
        elif kind == "step" and self._bar is not None:
            self._move(report)
        elif kind == "epoch_end":
            self._end(report)
        else:
            with tqdm.external_write_mode():
                _show_text(report, self._label)

    def close(self) -> None:
        """Remove a bar that did not come to its end."""
        self._drop_phase()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_phase(self, text: str) -> None:
        if self._phase is None:
            self._phase = tqdm(total=0, bar_format="{desc} [{elapsed}]", leave=False)
        self._phase.set_description_str(f"{self._title}: {text}")

    def _drop_phase(self) -> None:
        if self._phase is not None:
            self._phase.close()
            self._phase = None

    def _begin(self, report: Mapping[str, Any]) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(f"{self._label}Epoch {report['epoch'] + 1}/{report['epochs']}")
        self._bar = tqdm(
            total=report["steps"],
            unit="step",
            leave=False,
            desc=self._label,
            bar_format="{desc}{n_fmt}/{total_fmt} [{bar:30}] {elapsed}<{remaining}{postfix}",
        )

    def _move(self, report: Mapping[str, Any]) -> None:
        rate = report["rows"] / max(report["seconds"], 1e-9)
        self._bar.set_postfix_str(
            " - ".join([f"{rate:,.0f} rows/s", *_shown(report["logs"])]), False
        )
        self._bar.update(report["step"] - self._bar.n)

    def _end(self, report: Mapping[str, Any]) -> None:
        self.close()
        with tqdm.external_write_mode():
            say(self._label + epoch_line(report))


def epoch_line(report: Mapping[str, Any]) -> str:
    """Return Keras's line for an epoch that ended: steps, time, loss and metrics."""
    steps, seconds = report["steps"], report["seconds"]
    parts = [f"{steps}/{steps}", f"{seconds:.0f}s", f"{1000 * seconds / max(steps, 1):.1f}ms/step"]
    if report["rows"]:
        parts.append(f"{report['rows'] / max(seconds, 1e-9):,.0f} rows/s")
    return " - ".join([*parts, *_shown(report["logs"])])


def display_for(verbose: int, title: str, name: str = "") -> Display:
    """Return the display for this `verbose` and this standard output."""
    if verbose == 0:
        return Silent()
    if sys.stdout.isatty() or _in_notebook():
        return Bars(title, name)
    return Lines(title, name)


class ProgressServer:
    """Listens for the workers' reports and hands them to a display, in threads.

    On the same line the workers meet. That it cannot listen costs the progress and a second of
    waiting, never the job.

    Parameters
    ----------
    spark : SparkSession
    display : Display
    """

    def __init__(self, spark: SparkSession, display: Display) -> None:
        self._display = display
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._lines: list[threading.Thread] = []
        self._meeting = MeetingPlace()
        self._listener: socket.socket | None = None
        self.report_to: ReportTo | None = None
        host = _reachable_host(spark)
        try:
            self._listener = socket.create_server((host, 0), backlog=128)
        except OSError as error:
            _logger.warning("no progress will be shown: cannot listen on %s: %s", host, error)
            return
        self.report_to = ReportTo(host, self._listener.getsockname()[1], self._secret)

    def __enter__(self) -> Self:
        if self._listener is not None:
            self._display.show({"kind": "phase", "text": "starting workers"})
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._listener is not None:
            # Closing alone would leave the thread in accept() for ever.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        for line in self._lines:
            line.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._display.close()
            self._display = Silent()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            line = threading.Thread(target=self._read, args=(connection,), daemon=True)
            self._lines.append(line)
            line.start()

    def _read(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, OrcaError):
            self._listen(connection)
        self._meeting.leave(connection.sendall)

    def _listen(self, connection: socket.socket) -> None:
        connection.settimeout(_HANDSHAKE_SECONDS)
        stream = connection.makefile("rb")
        drive(accept(self._secret, purpose=REPORT_PURPOSE), connection.sendall, stream.read)
        connection.settimeout(None)
        for line in stream:
            report = json.loads(line)
            if report["kind"] == "address":
                self._meeting.join(report, connection.sendall)
                continue
            if report["kind"] == "gather":
                self._meeting.gather(connection.sendall)
                continue
            with self._lock:
                self._display.show(report)


def _reachable_host(spark: SparkSession) -> str:
    """Return the interface of this machine that workers can reach."""
    if is_local(spark):
        return "127.0.0.1"
    if not is_connect(spark):
        host = spark.conf.get("spark.driver.host", "")
        if host:
            return host
    return socket.gethostbyname(socket.gethostname())


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _shown(logs: Mapping[str, float]) -> list[str]:
    return [
        f"{name}: {value:.4g}" if abs(value) < 1e-3 else f"{name}: {value:.4f}"
        for name, value in logs.items()
    ]


def _show_text(report: Mapping[str, Any], label: str) -> None:
    if report["kind"] == "log":
        say(f"{label}[rank {report['rank']}] {report['text']}")
    elif report["kind"] == "warning":
        say(f"{label}warning: {report['text']}")


def say(text: str) -> None:
    """Print lines where the progress goes."""
    print(text, flush=True)
