"""Messages over a pipe between a task and its child."""

import threading
from typing import BinaryIO

from zoo.orca.wire.messages.codec import Channel, M, Message

#: Bytes that a pipe should hold, where the operating system lets us set it. With Linux's default of
#: 64 KiB, the two sides take turns a hundred times for one batch of predictions.
PIPE_BYTES = 1 << 20

#: The line on the child's standard output that ends the output of a failed job. Its messages travel
#: another way and may arrive first.
END_OF_LOG = "\0the log of this job ends"


class Sender:
    """Writes messages whole, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one message.

        Raises
        ------
        OSError
            If the other side is gone.
        """
        pieces = message.to_pieces()
        with self._lock:
            for piece in pieces:
                self._stream.write(piece)
            self._stream.flush()


def receive(stream: BinaryIO, channel: Channel[M]) -> M | None:
    """Read one message; None once the other side closed the pipe or died in mid-message.

    Raises
    ------
    MessageError
        If the bytes are not a message of this channel.
    """
    return channel.read(stream.read)
