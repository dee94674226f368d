"""Checkpoints of a running `fit`: where a later attempt, or another program, continues from.

Checkpoints belong to one `fit`. Their directory is named after it. The driver removes it once it
has the final state, because until then Spark may restart the stage. A checkpoint is the whole
state, including the history. It is written under another name and then renamed, so the newest one
is always complete. The newest two stay: a disk may lose the last one that it promised to keep. Only
rank 0 reads and writes; it sends what it read to the other ranks.
"""

import threading
from collections.abc import Callable

from zoo.orca.errors import StateError
from zoo.orca.files import check_writable, list_names, read_bytes, remove_file, write_bytes
from zoo.orca.wire.checkpoints import Checkpoint, checkpoint_name, checkpoints_in
from zoo.orca.wire.job import Job, KeptJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective

#: Not a checkpoint: it has no history, and no epochs are left after it.
_FINAL = "final.state"
_KEPT = 2
_ABANDON_SECONDS = 5.0


def check_directory(job: Job, rank: int, host: str) -> None:
    """Refuse a `model_dir` that this rank cannot write; after an executor's loss it may be rank 0.

    Raises
    ------
    InvalidInputError
        Names the directory, the host and the cause.
    """
    if isinstance(job, KeptJob) and job.checkpoints and job.model_dir:
        check_writable(job.checkpoints, f"rank-{rank}", model_dir=job.model_dir, host=host)


class Checkpoints:
    """The checkpoints of one `fit`.

    Parameters
    ----------
    directory : str
        A directory that all workers reach. If empty, nothing is written or found.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._writing = _Background()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint while training goes on, in place of older ones; on rank 0 only.

        Nothing else may change its tensors.
        """
        if self._directory:
            own = checkpoint_name(int(checkpoint.state.meta["epoch"]), checkpoint.steps)
            self._writing.start(lambda: self._write(own, checkpoint))

    def _write(self, own: str, checkpoint: Checkpoint) -> None:
        write_bytes(f"{self._directory}/{own}", checkpoint.to_bytes())
        older = [name for name in self._names() if name < own]
        for name in older[: len(older) + 1 - _KEPT]:
            remove_file(f"{self._directory}/{name}")

    def newest(self, collective: Collective, warn: Callable[[str], None]) -> Checkpoint | None:
        """Return the newest checkpoint that is whole, as rank 0 sees it; called on all ranks.

        Parameters
        ----------
        collective : Collective
        warn : callable
            Told of a damaged one, if there is an older one in its place.

        Raises
        ------
        StateError
            If none is whole.
        """
        if not self._directory:
            return None
        found = self._newest_whole(warn) if collective.rank == 0 else None
        data = bytes(collective.broadcast(found))
        return Checkpoint.from_bytes(data, self._directory) if data else None

    def _newest_whole(self, warn: Callable[[str], None]) -> bytes:
        """Return the bytes of a checkpoint; none if there is no file."""
        names, damaged = self._names(), ""
        while names:
            path = f"{self._directory}/{names.pop()}"
            try:
                data = read_bytes(path)
                Checkpoint.from_bytes(data, path)
            except StateError as error:
                if not names:
                    raise
                damaged = str(error).partition("\n")[0]
                continue
            if damaged:
                warn(f"{damaged}; going on from {path}")
            return data
        return b""

    def keep(self, state: State) -> str:
        """Write the final state for the driver to read; return its path."""
        path = f"{self._directory}/{_FINAL}"
        write_bytes(path, state.to_bytes())
        return path

    def finish(self) -> None:
        """Wait for what is being written; raise its error."""
        self._writing.finish()

    def abandon(self) -> None:
        """Wait some seconds for what is being written, and not for its error.

        Whoever calls this has an error of its own to tell, and a disk that hangs must not keep it.
        """
        self._writing.settle(_ABANDON_SECONDS)

    def _names(self) -> list[str]:
        """Return the names of the checkpoints, the newest last."""
        return checkpoints_in(list_names(self._directory))


class _Background:
    """Runs one thing at a time beside the training."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, call: Callable[[], None]) -> None:
        """Wait for the one before, then begin `call`."""
        self.finish()

        def run() -> None:
            try:
                call()
            except Exception as error:  # whatever a filesystem raises, raised where it is noticed
                self._error = error

        self._thread = threading.Thread(target=run, name="orca-checkpoint", daemon=True)
        self._thread.start()

    def settle(self, seconds: float | None) -> None:
        """Wait for what runs, so many seconds at most."""
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def finish(self) -> None:
        """Wait for what runs; raise its error."""
        # no limit: a filesystem may take as long as it likes to write, and heartbeats go on
        self.settle(None)
        error, self._error = self._error, None
        if error is not None:
            raise error
