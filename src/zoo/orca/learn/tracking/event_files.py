"""Files of TensorBoard's events, written on the driver without TensorFlow.

`tensorboard` has a writer of its own for whole directories, but it imports TensorFlow where that is
installed. Its protocol buffers and its frame of records do not.
"""

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from zoo.orca.errors import InvalidInputError
from zoo.orca.files import make_directory, write_bytes

#: Tells the files of one process apart that begin within one second.
_numbers = itertools.count()


class EventFile:
    """One file of scalars below a directory; it is there once the first are.

    Parameters
    ----------
    directory : str
        A local path, or a URL that pyarrow or fsspec opens.
    """

    def __init__(self, directory: str) -> None:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._path = f"{directory.rstrip('/')}/{name}.{os.getpid()}.{next(_numbers)}"
        self._directory = directory
        self._whole: BytesIO | None = None

    def add(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Write the values of a step, at once; `at` is the time in seconds.

        Raises
        ------
        InvalidInputError
            If nothing can be written there.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        events = [Event(wall_time=at, step=step, summary=Summary(value=scalars))]
        if self._whole is None:
            self._whole = BytesIO()
            events = [*self._beginning(step, at), *events]
        records = _records(events)
        self._whole.write(records)
        self._append(records)

    def _beginning(self, step: int, at: float) -> list[Any]:
        """Return the first events: of a `fit` that begins anew at an earlier step, the rest goes.

        TensorBoard then shows no values of later steps that former files have.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        started = SessionLog(status=SessionLog.START)
        return [
            Event(wall_time=at, file_version="brain.Event:2"),
            Event(wall_time=at, step=step, session_log=started),
        ]

    def _append(self, records: bytes) -> None:
        if "://" in self._path and self._whole is not None:
            # Most of what a URL names has whole files only.
            write_bytes(self._path, self._whole.getvalue())
            return
        make_directory(self._directory)
        try:
            # The same file all along: TensorBoard holds it open and reads on.
            with Path(self._path).expanduser().open("ab") as stream:
                stream.write(records)
        except OSError as error:
            raise InvalidInputError(
                f"cannot write {self._path}: {error}\n"
                "Name a log_dir that this program may write to, with space left"
            ) from error


def _records(events: list[Any]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with contextlib.closing(BytesIO()) as stream:
        writer = RecordWriter(stream)
        for event in events:
            writer.write(event.SerializeToString())
        return stream.getvalue()
