"""A process that calls the user's transform for a child: ``python -m`` this, and a socket's number.

It ends when the child closes its end of the socket, or dies, even within a call.
"""

import os
import pickle
import queue
import sys
import threading
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from typing import Any

from zoo.orca.errors import DataError
from zoo.orca.wire.packing import unpack
from zoo.orca.worker.rows.transform import Transform


def serve(connection: Connection) -> None:
    """Answer each request, until the child is gone."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, requests), daemon=True).start()
    packed, seed = pickle.loads(requests.get())  # no limit: the child's end ends this process
    transform: Transform | Exception
    try:
        transform = Transform(unpack(packed), seed)
    except Exception as error:
        transform = error
    while True:
        request = pickle.loads(requests.get())  # no limit: as above
        connection.send_bytes(_answer(transform, request))


def _answer(transform: Transform | Exception, request: Any) -> bytes:
    columns, training, place = request
    try:
        if isinstance(transform, Exception):
            raise transform
        made = transform(columns, training=training, place=place)
        return pickle.dumps((made, None), protocol=5)
    except Exception as error:
        try:
            return pickle.dumps((None, ExceptionWithTraceback(error, error.__traceback__)))
        except Exception as lost:  # an exception of the user's may hold anything
            text = f"batch_transform raised {type(error).__qualname__}: {error} ({lost})"
            return pickle.dumps((None, DataError(text)))


def _read(connection: Connection, requests: queue.SimpleQueue[bytes]) -> None:
    """Hand on what the child sends. That it is gone must be seen while the function runs."""
    try:
        while True:
            requests.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
