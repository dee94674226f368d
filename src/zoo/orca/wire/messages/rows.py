"""Reports on the rows that a task has spooled: to its child, and from the child to all ranks."""

from dataclasses import dataclass

from zoo.orca.wire.messages.codec import Channel, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding about the rows of one data set on one worker.

    Parameters
    ----------
    column : str
        The user's name of the column.
    data : str
        "train" or "validation".
    kind : str
        "null": the value is null; "null inside": an array's element is null; "length": arrays have
        `length` elements at nesting `level`, which is a fault only if others differ; "longest": no
        array of a padded column has more than `length` elements at nesting `level`.
    rows : int
        How many rows.
    example : str
        One of them, shortened.
    level, length : int
        Set if `kind` is "length" or "longest".
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
    """How many rows of one data set a worker has, and the file that holds them."""

    rows: int
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled(Message):
    """The spooled rows of a worker.

    Parameters
    ----------
    train, validation : DataSet
        `validation` is None if the job has no validation rows.
    findings : tuple of Finding
        For `zoo.orca.wire.faults.agree`.
    """

    train: DataSet
    validation: DataSet | None = None
    findings: tuple[Finding, ...] = ()


#: From each rank to all others, before they agree on the shapes of the rows.
TO_PEERS: Channel[Spooled] = Channel(Spooled)
