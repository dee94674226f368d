"""Messages over a pipe between a task and its child: a JSON header and raw bytes.

Layout of a message: header length (4 bytes), blob length (8 bytes), both little-endian; then both.
"""

import json
import struct
import threading
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what it is, its JSON values and its bytes."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)
    blob: bytes = b""


class Sender:
    """Writes messages whole, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, kind: str, blob: bytes = b"", /, **values: Any) -> None:
        """Write one message.

        Raises
        ------
        OSError
            If the other side is gone.
        """
        header = json.dumps({"kind": kind, "values": values}).encode()
        with self._lock:
            self._stream.write(_LENGTHS.pack(len(header), len(blob)))
            self._stream.write(header)
            self._stream.write(blob)
            self._stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """Read one message; None once the other side has closed the pipe, or died in mid-message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_size, blob_size = _LENGTHS.unpack(lengths)
    header, blob = stream.read(header_size), stream.read(blob_size)
    if len(header) < header_size or len(blob) < blob_size:
        return None
    values = json.loads(header)
    return Message(values["kind"], values["values"], blob)
