"""Messages over a pipe between a task and its child."""

import os
import select
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

from zoo.orca.wire.messages.codec import Blob, Channel, M, Message

#: Bytes that a pipe should hold, where the operating system lets us set it. With Linux's default of
#: 64 KiB, the two sides take turns a hundred times for one batch of predictions.
PIPE_BYTES = 1 << 20

#: The line on the child's standard output that ends the output of a job over rows, and of a failed
#: prediction. A job's messages travel another way and may arrive first.
END_OF_LOG = "\0the log of this job ends"

#: The line that ends what a task reads of a child which another task takes over.
END_OF_HOLD = "\0another task takes this process over"

#: The exit code of a child that can no longer hear its task, or be heard, though the task is there.
LOST_PIPE = 74


class Sender:
    """Writes messages whole, from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._is_silent = False

    def send(self, message: Message, *, last: bool = False) -> None:
        """Write one message.

        Parameters
        ----------
        message : Message
        last : bool
            Whether there are no beats behind it until `resume` is called.

        Raises
        ------
        OSError
            If the other side is gone.
        """
        pieces = message.to_pieces()
        with self._lock:
            self._write(pieces)
            self._is_silent = last

    def beat(self, message: Message) -> None:
        """Write one message, unless there are to be no beats now."""
        with self._lock:
            if not self._is_silent:
                self._write(message.to_pieces())

    def resume(self) -> None:
        """Let beats be written again."""
        with self._lock:
            self._is_silent = False

    def _write(self, pieces: Sequence[Blob]) -> None:
        for piece in pieces:
            # no limit: the task reads all the time, and its end ends this process
            self._stream.write(piece)
        self._stream.flush()


class LimitedSender:
    """Writes messages whole, from any thread, to a reader that may stop to read.

    Parameters
    ----------
    stream : BinaryIO
        The pipe. Nothing else may write to it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        os.set_blocking(stream.fileno(), False)
        self._lock = threading.Lock()

    def send(self, message: Message, limit: float) -> None:
        """Write one message.

        Parameters
        ----------
        message : Message
        limit : float
            Seconds within which the reader must take something of a full pipe. If it takes its
            time, half a message may lie in the pipe, which is of no more use then.

        Raises
        ------
        TimeoutError
            If the reader took nothing for so long.
        OSError
            If the other side is gone, or this one is closed.
        """
        pieces = message.to_pieces()
        with self._lock:
            if self._stream.closed:
                raise BrokenPipeError("this end of the pipe is closed")
            for piece in pieces:
                self._write(memoryview(piece), limit)

    def close(self) -> None:
        """Close the pipe, after the message that a thread may be writing."""
        with self._lock:
            self._stream.close()

    def _write(self, rest: memoryview, limit: float) -> None:
        pipe = self._stream.fileno()
        room = select.poll()
        room.register(pipe, select.POLLOUT)
        until = time.monotonic() + limit
        while rest:
            try:
                rest = rest[os.write(pipe, rest) :]
                until = time.monotonic() + limit
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"nothing was taken for {limit:.0f} s") from None
                room.poll(1000 * left)


def receive(stream: BinaryIO, channel: Channel[M]) -> M | None:
    """Read one message; None once the other side closed the pipe or died in mid-message.

    Raises
    ------
    MessageError
        If the bytes are not a message of this channel.
    """
    return channel.read(stream.read)
