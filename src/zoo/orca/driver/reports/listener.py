"""The driver's end of the workers' connections: reports for the display, and addresses."""

import contextlib
import logging
import secrets
import socket
import threading
import time
from typing import BinaryIO, Self

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.display import Display, Silent
from zoo.orca.driver.reports.rendezvous import RendezvousPlace, Reply
from zoo.orca.driver.session.cluster import is_connect, is_local
from zoo.orca.encryption.line import open_line
from zoo.orca.encryption.tls import contexts_of
from zoo.orca.errors import OrcaError
from zoo.orca.wire.handshake import accept, drive
from zoo.orca.wire.messages.line import HELLO, TO_DRIVER, AskToGather, Present
from zoo.orca.wire.messages.progress import Phase
from zoo.orca.wire.report import REPORT_PURPOSE, ReportTo

_HANDSHAKE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 1.0
_logger = logging.getLogger(__name__)


class ReportListener:
    """Listens for the workers' reports and hands them to a display, in threads.

    The workers also exchange their addresses here. If it cannot listen, there is no progress and
    the start takes a second longer, but the job runs.

    Parameters
    ----------
    spark : SparkSession
    display : Display
    identity : str
        The job's certificate and key (`zoo.orca.encryption`); empty: workers report in clear.
    """

    def __init__(self, spark: SparkSession, display: Display, identity: str = "") -> None:
        self._display = display
        self._contexts = contexts_of(identity)
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._lines: list[threading.Thread] = []
        self._rendezvous = RendezvousPlace()
        self._listener: socket.socket | None = None
        self.report_to: ReportTo | None = None
        host = "this machine"
        try:
            # This machine's own name may be unknown to the resolver.
            host = _reachable_host(spark)
            self._listener = socket.create_server((host, 0), backlog=128)
        except OSError as error:
            _logger.warning("no progress will be shown: cannot listen on %s: %s", host, error)
            return
        self.report_to = ReportTo(
            host=host,
            port=self._listener.getsockname()[1],
            secret=self._secret,
            identity=identity,
        )

    def __enter__(self) -> Self:
        if self._listener is not None:
            self._display.show(Phase(text="starting workers"))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._listener is not None:
            # close() alone would leave the thread in accept() for ever.
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
            connection.settimeout(_HANDSHAKE_SECONDS)
            send, stream = open_line(
                connection, self._contexts, accepts=True, seconds=_HANDSHAKE_SECONDS
            )
            try:
                self._listen(connection, send, stream)
            finally:
                self._rendezvous.leave(send)

    def _listen(self, connection: socket.socket, send: Reply, stream: BinaryIO) -> None:
        connection.settimeout(_HANDSHAKE_SECONDS)
        greeting = accept(self._secret, purpose=REPORT_PURPOSE)
        rank = HELLO.from_text(drive(greeting, send, stream.read)).rank
        connection.settimeout(None)
        for line in stream:
            match TO_DRIVER.from_text(line):
                case Present() as present:
                    self._rendezvous.join(rank, present, send)
                case AskToGather():
                    self._rendezvous.gather(send)
                case progress:
                    with self._lock:
                        self._display.show(progress, rank)


def _reachable_host(spark: SparkSession) -> str:
    """Return the interface of this machine that workers can reach."""
    if is_local(spark):
        return "127.0.0.1"
    if not is_connect(spark):
        host = spark.conf.get("spark.driver.host", "")
        if host:
            return host
    return socket.gethostbyname(socket.gethostname())
