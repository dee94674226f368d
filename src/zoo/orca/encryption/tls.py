"""TLS with a job's one certificate, without sockets.

The driver makes a key and a certificate for each job (`driver/session/certificate.py`). They travel
inside the task, as the job's secret does. Both ends of each connection present this certificate and
trust no other. So who proves to have its key belongs to the job, and names do not matter. Within
TLS both ends still prove to know the secret (`wire/handshake.py`).

OpenSSL's connections are not safe for a thread that sends beside one that receives. So nothing here
gives OpenSSL a socket. A :class:`Tunnel` turns bytes into bytes, and whoever owns it decides when
they are sent and received: `line.py` with locks, for threads, and the ring
(`worker/collective/encrypted.py`) in one thread, without waiting.
"""

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from zoo.orca.wire.handshake import HandshakeError


@dataclass(frozen=True, slots=True)
class Contexts:
    """OpenSSL's settings for both sides of a job's connections."""

    connects: ssl.SSLContext
    accepts: ssl.SSLContext


def contexts_of(identity: str) -> Contexts | None:
    """Return the settings for a job's certificate; None if its connections are in clear.

    Parameters
    ----------
    identity : str
        The certificate and its key, in PEM; empty: in clear.
    """
    if not identity:
        return None
    connects = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    accepts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connects.check_hostname = False
    # A ticket would lie unread in a socket that only sends, and closing that resets the connection.
    accepts.num_tickets = 0
    for context in (connects, accepts):
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=identity)
        # OpenSSL reads the file twice: for the certificate, and for the key.
        with _file_of(identity) as certificate, _file_of(identity) as key:
            context.load_cert_chain(certificate, key)
    return Contexts(connects, accepts)


@contextlib.contextmanager
def _file_of(text: str) -> Iterator[str]:
    """Return a file with `text`, for what only reads files: a pipe, so that no disk has the key."""
    read_end, write_end = os.pipe()
    try:
        with os.fdopen(write_end, "w") as stream:
            stream.write(text)
        yield f"/dev/fd/{read_end}"
    finally:
        os.close(read_end)


class Tunnel:
    """One end of a TLS connection, without its socket; one thread at a time may use it.

    Parameters
    ----------
    contexts : Contexts
    accepts : bool
        Whether this end has accepted the connection.
    """

    def __init__(self, contexts: Contexts, *, accepts: bool) -> None:
        self._arrived, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = contexts.accepts if accepts else contexts.connects
        self._tls = context.wrap_bio(self._arrived, self._to_send, server_side=accepts)
        self.established = False

    def shake(self) -> None:
        """Continue the handshake with what has arrived.

        Raises
        ------
        HandshakeError
            The other end does not speak TLS, or has another certificate.
        """
        try:
            self._tls.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise HandshakeError(
                f"the other end does not know this job's certificate: {error.reason}"
            ) from error

    def take(self, data: Any) -> None:
        """Take bytes that have arrived."""
        self._arrived.write(data)

    def outgoing(self) -> bytes:
        """Return the bytes that must be sent now, once."""
        return self._to_send.read()

    def encrypt(self, data: Any) -> None:
        """Encrypt all of `data` into `outgoing`."""
        if len(data):
            self._tls.write(data)

    def decrypt(self, view: memoryview) -> int:
        """Decrypt what has arrived into `view`, as much as fits; return how many bytes.

        Raises
        ------
        ssl.SSLError
            Something else has arrived than the other end has sent.
        """
        count = 0
        # OpenSSL hands out one record at a time, of at most 16 KiB.
        while count < len(view):
            rest = view[count:]
            try:
                count += cast("int", self._tls.read(len(rest), cast("bytearray", rest)))
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break
        return count
