"""Checkpoints of a running `fit`: where a stage that Spark restarts continues from.

Checkpoints belong to one `fit`. Their directory is named after it and removed when it is done. A
checkpoint is the whole state, including the history. It is written under another name and then
renamed, so the newest one is always complete. Only rank 0 reads and writes; it sends what it read
to the other ranks.
"""

from zoo.orca.files import list_names, read_bytes, remove_directory, write_bytes
from zoo.orca.wire.packing import State
from zoo.orca.worker.collective.protocol import Collective

_SUFFIX = ".state"


class Checkpoints:
    """The checkpoints of one `fit`.

    Parameters
    ----------
    model_dir : str or None
        A directory that all workers reach. With None, nothing is written or found.
    run : str
        The name of this `fit`, the same for all its attempts.
    """

    def __init__(self, model_dir: str | None, run: str) -> None:
        self._directory = f"{model_dir.rstrip('/')}/{run}" if model_dir else ""

    def save(self, state: State) -> None:
        """Write the state at the end of an epoch; called on rank 0 only."""
        if self._directory:
            name = f"{int(state.meta['epoch']):08d}{_SUFFIX}"
            write_bytes(f"{self._directory}/{name}", state.to_bytes())

    def newest(self, collective: Collective) -> State | None:
        """Return the newest state, as rank 0 sees it; called on all ranks."""
        if not self._directory:
            return None
        found = b""
        if collective.rank == 0:
            names = [name for name in list_names(self._directory) if name.endswith(_SUFFIX)]
            found = read_bytes(f"{self._directory}/{names[-1]}") if names else b""
        data = bytes(collective.broadcast(found if collective.rank == 0 else None))
        return State.from_bytes(data) if data else None

    def keep(self, state: State) -> str:
        """Write the final state for the driver to read and remove; return its path."""
        path = f"{self._directory}/final{_SUFFIX}"
        write_bytes(path, state.to_bytes())
        return path

    def clear(self) -> None:
        """Remove all checkpoints; called on rank 0 only."""
        if self._directory:
            remove_directory(self._directory)
