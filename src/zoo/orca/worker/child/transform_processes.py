"""The user's transform in processes of its own, beside the child's threads."""

import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Pipe
from typing import Any

from numpy.typing import NDArray

from zoo.orca.errors import WorkerError
from zoo.orca.worker.child import transform_process

#: Seconds between two looks at a process that has not answered yet.
_TURN = 1.0
#: Seconds in which a process ends by itself.
_ENDS_WITHIN = 5.0


class TransformProcesses:
    """Calls the user's function in processes. What it returns is the same as in threads.

    Parameters
    ----------
    packed : bytes
        The pickled function.
    seed : int
    count : int
        Number of processes.

    Attributes
    ----------
    threads : int
        How many threads may call at the same time; more wait for their turn.
    """

    def __init__(self, packed: bytes, seed: int, count: int) -> None:
        self.threads = count
        self._processes = [_Process((packed, seed)) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __call__(
        self, columns: Mapping[str, NDArray[Any]], *, training: bool, place: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        """Return what the function makes of some rows; see `Transform`.

        Raises
        ------
        WorkerError
            If a process has ended.
        """
        process = self._idle.get()  # no limit: each caller brings its process back
        try:
            return process.call((dict(columns), training, tuple(place)))
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()


class _Process:
    def __init__(self, begin: Any) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                [sys.executable, "-m", transform_process.__name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                # The child's own is its line to the task.
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self._connection.send_bytes(pickle.dumps(begin))

    def call(self, request: Any) -> dict[str, NDArray[Any]]:
        try:
            self._connection.send_bytes(pickle.dumps(request, protocol=5))
            while not self._connection.poll(_TURN):
                # Its end closes the socket. A process of the user's may still hold that open.
                if self._process.poll() is not None:
                    raise EOFError
            made, error = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as gone:
            code = self._ended()
            raise WorkerError(
                f"a process of batch_transform ended with code {code}\n"
                "A negative code is a signal: -9 most often means that memory ran out. Use fewer "
                "processes (spark.orca.transform.processes)"
            ) from gone
        if error is not None:
            raise error
        return made  # type: ignore[no-any-return]

    def close(self) -> None:
        self._connection.close()
        self._ended()

    def _ended(self) -> int | None:
        try:
            return self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait(_ENDS_WITHIN)
