"""Checkpoints of a running `fit`: where a stage that Spark restarts continues from.

Checkpoints belong to one `fit`. Their directory is named after it. The driver removes it once it
has the final state, because until then Spark may restart the stage. A checkpoint is the whole
state, including the history. It is written under another name and then renamed, so the newest one
is always complete, and replaces those before it. Only rank 0 reads and writes; it sends what it
read to the other ranks.
"""

from zoo.orca.files import check_writable, list_names, read_bytes, remove_file, write_bytes
from zoo.orca.wire.job import Job, TrainJob
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective

_SUFFIX = ".state"
#: Not a checkpoint: it has no history, and no epochs are left after it.
_FINAL = "final"


def check_directory(job: Job, rank: int, host: str) -> None:
    """Refuse a `model_dir` that this rank cannot write; after an executor's loss it may be rank 0.

    Raises
    ------
    InvalidInputError
        Names the directory, the host and the cause.
    """
    if isinstance(job, TrainJob) and job.checkpoints and job.model_dir:
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

    def save(self, state: State) -> None:
        """Write the state at the end of an epoch, in place of older ones; on rank 0 only."""
        if not self._directory:
            return
        own = f"{int(state.meta['epoch']):08d}{_SUFFIX}"
        write_bytes(f"{self._directory}/{own}", state.to_bytes())
        for name in self._names():
            if name < own:
                remove_file(f"{self._directory}/{name}")

    def newest(self, collective: Collective) -> State | None:
        """Return the newest state, as rank 0 sees it; called on all ranks."""
        if not self._directory:
            return None
        found = b""
        if collective.rank == 0:
            names = self._names()
            found = read_bytes(f"{self._directory}/{names[-1]}") if names else b""
        data = bytes(collective.broadcast(found if collective.rank == 0 else None))
        return State.from_bytes(data) if data else None

    def keep(self, state: State) -> str:
        """Write the final state for the driver to read; return its path."""
        path = f"{self._directory}/{_FINAL}{_SUFFIX}"
        write_bytes(path, state.to_bytes())
        return path

    def _names(self) -> list[str]:
        """Return the names of the checkpoints, the newest last."""
        names = list_names(self._directory)
        return [name for name in names if name.removesuffix(_SUFFIX).isdecimal()]
