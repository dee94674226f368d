"""Messages over a pipe between a task and its child: a JSON header and raw bytes.

Layout of a message: header length (4 bytes), blob length (8 bytes), both little-endian; then both.
"""

import json
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("<IQ")

#: Bytes that an operating system's pipe should hold, where it can be told: with Linux's default of
#: 64 KiB the two sides take turns a hundred times for one batch of predictions.
PIPE_BYTES = 1 << 20

#: The line on the child's standard output after which a job that failed prints nothing more: its
#: messages take another way, and may be there first.
END_OF_LOG = "\0the log of this job ends"

#: What one message carries: bytes, or anything that shows its memory as bytes.
Blob = bytes | memoryview


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

    def send(self, kind: str, blob: Blob | Sequence[Blob] = b"", /, **values: Any) -> None:
        """Write one message.

        Parameters
        ----------
        kind : str
        blob : bytes, memoryview, or sequence of them
            Several arrive as one, and are not put together here.
        **values
            JSON values.

        Raises
        ------
        OSError
            If the other side is gone.
        """
        blobs = [blob] if isinstance(blob, (bytes, memoryview)) else blob
        parts = [memoryview(one).cast("B") for one in blobs if len(one)]
        header = json.dumps({"kind": kind, "values": values}).encode()
        with self._lock:
            self._stream.write(_LENGTHS.pack(len(header), sum(map(len, parts))))
            self._stream.write(header)
            for part in parts:
                self._stream.write(part)
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
