"""The driver's end of the workers' connections: reports for the display, and addresses."""

import contextlib
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from typing import BinaryIO, Self

from pyspark.sql import SparkSession

from zoo.orca.driver.reports.attempts import Attempts
from zoo.orca.driver.reports.display import Display, Silent
from zoo.orca.driver.reports.door import Door
from zoo.orca.driver.reports.rendezvous import RendezvousPlace, Reply
from zoo.orca.driver.session.cluster import is_connect, is_local
from zoo.orca.encryption.line import open_line
from zoo.orca.encryption.tls import contexts_of
from zoo.orca.errors import OrcaError
from zoo.orca.wire.handshake import accept, drive
from zoo.orca.wire.messages.line import HELLO, TO_DRIVER, AskToGather, Leaving, Present
from zoo.orca.wire.messages.progress import EpochRecorded, Phase
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
    on_epoch : callable
        Takes the report of an epoch, and what sends its rank a line; called from any thread.
    """

    def __init__(
        self,
        spark: SparkSession,
        display: Display,
        identity: str = "",
        on_epoch: Callable[[EpochRecorded, Reply], None] = lambda report, reply: None,
    ) -> None:
        self._display, self._on_epoch = display, on_epoch
        self._contexts = contexts_of(identity)
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._rendezvous = RendezvousPlace(Attempts(spark).is_over)
        self._lost: dict[int, str] = {}
        self._loss = threading.Event()
        self._door: Door | None = None
        self.report_to: ReportTo | None = None
        host = "this machine"
        try:
            # This machine's own name may be unknown to the resolver.
            host = _reachable_host(spark)
            listener = socket.create_server((host, 0), backlog=128)
        except OSError as error:
            _logger.warning("no progress will be shown: cannot listen on %s: %s", host, error)
            return
        self._door = Door(listener, self._read, _HANDSHAKE_SECONDS)
        port = listener.getsockname()[1]
        self.report_to = ReportTo(host=host, port=port, secret=self._secret, identity=identity)

    def __enter__(self) -> Self:
        if self._door is not None:
            self._display.show(Phase(text="starting workers"))
            self._door.open()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._door is not None:
            self._door.close(_LAST_WORDS_SECONDS)
        with self._lock:
            self._display.close()
            self._display = Silent()

    def first_lost(self) -> tuple[int, str] | None:
        """Return the rank whose line broke first, and its host; None if all said goodbye.

        To be asked when a stage has failed: a line breaks at once, but its thread may be late.
        """
        self._loss.wait(_LAST_WORDS_SECONDS)
        with self._lock:
            return next(iter(self._lost.items()), None)

    def _read(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, OrcaError):
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
        hello = HELLO.from_text(drive(greeting, send, stream.read))
        with self._lock:
            self._lost.pop(hello.rank, None)  # an attempt that Spark has restarted
        if self._door is not None:
            self._door.admit(connection)
        # no limit: a worker has nothing to say for hours; a thread of its own, which ends with it
        connection.settimeout(None)
        said_goodbye = False
        try:
            said_goodbye = self._told_all(stream, hello.rank, send)
        finally:
            if not said_goodbye:
                with self._lock:
                    self._lost[hello.rank] = hello.host
                self._loss.set()

    def _told_all(self, stream: BinaryIO, rank: int, reply: Reply) -> bool:
        """Hand on what a rank says until its line ends; return whether it said goodbye."""
        for line in stream:  # no limit: as long as the rank's task
            match TO_DRIVER.from_text(line):
                case Present() as present:
                    self._rendezvous.join(rank, present, reply)
                case AskToGather() as ask:
                    self._rendezvous.gather(ask, reply)
                case EpochRecorded() as report:
                    self._on_epoch(report, reply)
                case Leaving():
                    return True
                case progress:
                    with self._lock:
                        self._display.show(progress, rank)
        return False


def _reachable_host(spark: SparkSession) -> str:
    """Return the interface of this machine that workers can reach."""
    if is_local(spark):
        return "127.0.0.1"
    if not is_connect(spark):
        host = spark.conf.get("spark.driver.host", "")
        if host:
            return host
    return socket.gethostbyname(socket.gethostname())
