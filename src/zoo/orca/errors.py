"""Every error Orca raises on purpose.

::

    OrcaError
    +-- InvalidInputError (ValueError)      an argument, found on the driver before any job
    |   +-- ColumnError                     a column's name or type
    |   +-- CreatorError                    a creator that cannot travel to the workers
    |   +-- StateError                      a saved state that does not fit, or is not one
    +-- ContextError (RuntimeError)         no Java, no session, a cluster that cannot be reached
    |   +-- SlotsError                      more workers than the cluster has slots
    |   +-- DeviceError                     GPUs that executors, or this machine, do not have
    +-- MissingPackageError (ImportError)   a framework that is not installed, here or there
    +-- DataError (ValueError)              nulls, ragged arrays, no rows: found while rows move
    |   +-- UnevenRowsError                 uneven rows to place again; caught, never shown
    |   +-- RowsNeededError                 no rows, for a model that needs them to be built
    +-- WorkerError (RuntimeError)          something went wrong on one worker
        +-- ModelError                      the model does not fit the columns or the call
        +-- ShardError                      a function of the user failed on one shard
        +-- WorkerDiedError                 a worker's process was killed or crashed
        +-- WorkerFrozenError               a worker's process stopped answering
        +-- PeerLostError                   a worker lost another one: a consequence, not a cause

An error found on a worker travels to the driver as a
:class:`zoo.orca.wire.messages.results.Failure`. This carries the name of the class;
:func:`error_class` returns the class.
"""


class OrcaError(Exception):
    """Base of every error that Orca raises on purpose.

    Attributes
    ----------
    traceback : str
        The whole traceback on the worker, or Spark's own text about a failed job. An empty string
        if this program found the error itself.
    """

    traceback: str = ""


class InvalidInputError(OrcaError, ValueError):
    """An argument that cannot be used; raised on the driver before any job starts."""


class ColumnError(InvalidInputError):
    """A column that is missing or whose type no model input can take."""


class CreatorError(InvalidInputError):
    """A creator, callback or configuration that cannot be sent to the workers."""


class StateError(InvalidInputError):
    """A saved state that cannot be read, or does not fit the model."""


class ContextError(OrcaError, RuntimeError):
    """Spark or Java is missing, unreachable or set up in a way Orca cannot use."""


class SlotsError(ContextError):
    """More workers were asked for than the cluster can run at the same time.

    Attributes
    ----------
    slots : int or None
        How many it can run; None if only Spark knows.
    """

    slots: int | None = None


class DeviceError(ContextError):
    """GPUs were asked for that the executors, or the machine in local mode, do not have."""


class MissingPackageError(OrcaError, ImportError):
    """A package that this call needs is not installed; the message has the pip command."""


class DataError(OrcaError, ValueError):
    """Rows that cannot be used: nulls, ragged arrays, or none at all."""


class UnevenRowsError(DataError):
    """Rows lie unevenly in their partitions; the stage runs again with rows placed at random."""


class RowsNeededError(DataError):
    """A model is built from its first rows, and there is none to tell the shapes."""


class WorkerError(OrcaError, RuntimeError):
    """Something went wrong on one worker.

    Attributes
    ----------
    rank : int or None
        The worker's rank, from 0.
    host : str or None
        The host it ran on.
    traceback : str
        The whole traceback on the worker, or an empty string. The message shows only the frames of
        the user's own code.
    log : tuple of str
        The last lines the worker printed.
    """

    def __init__(
        self,
        message: str,
        *,
        rank: int | None = None,
        host: str | None = None,
        log: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.rank = rank
        self.host = host
        self.log = log

    @property
    def remote_traceback(self) -> str:
        """`traceback` by its former name."""
        return self.traceback


class ModelError(WorkerError):
    """The model does not fit the columns, or the call (for example: it is not compiled)."""


class ShardError(WorkerError):
    """A function of the user failed on one shard of an XShards; the message names the shard."""


class WorkerDiedError(WorkerError):
    """A worker's process was killed, or crashed without a Python exception."""


class WorkerFrozenError(WorkerError):
    """A worker's process sent no heartbeat within the limit."""


class PeerLostError(WorkerError):
    """A worker lost the connection to another one; the other's error is the cause."""


def error_class(name: str) -> type[OrcaError]:
    """Return this file's error class of that name; `WorkerError` for any other name."""
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, OrcaError):
        return found
    return WorkerError
