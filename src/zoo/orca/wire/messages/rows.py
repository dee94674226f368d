"""What a task tells its child, and the child the other ranks, about the rows it has spooled."""

from dataclasses import dataclass

from zoo.orca.wire.messages.codec import Channel, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about the rows of one data set on one worker.

    Parameters
    ----------
    column : str
        The user's name of the column.
    data : str
        "train" or "validation".
    kind : str
        "null": the value is null; "null inside": an array's element is; "length": arrays have
        `length` elements at nesting `level`, which is no fault unless others differ.
    rows : int
        How many rows.
    example : str
        One of them, shortened.
    level, length : int
        Where `kind` is "length".
    """

    column: str
    data: str
    kind: str
    rows: int
    example: str
    level: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class DataSet:
    """How many rows of one data set a worker has, and the file they lie in."""

    rows: int
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled(Message):
    """What became of a worker's rows.

    Parameters
    ----------
    train, validation : DataSet
        `validation` is None where the job has no validation rows.
    findings : tuple of Finding
        For `zoo.orca.wire.faults.agree`.
    """

    train: DataSet
    validation: DataSet | None = None
    findings: tuple[Finding, ...] = ()


#: From each rank to all others, before they agree on what the rows are.
TO_PEERS: Channel[Spooled] = Channel(Spooled)
