"""The messages between a task and its child process."""

from dataclasses import dataclass

from zoo.orca.wire.messages.codec import Channel, Message, Payload
from zoo.orca.wire.messages.progress import (
    Decided,
    EpochBegan,
    EpochEnded,
    EpochRecorded,
    LogLine,
    Phase,
    Progress,
    Reported,
    StepTaken,
    Warned,
)
from zoo.orca.wire.messages.results import Failure, Outcome
from zoo.orca.wire.messages.rows import Spooled

#: Host and port where a rank's child listens for the others.
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob(Message):
    """The child must run a job; its rows come later.

    Parameters
    ----------
    directory : str
        Where the rows will be; the child removes it if its task is gone.
    host : str
        The host name for other workers to connect to.
    rank, size : int
    cpus : tuple of int
        The worker's own processors; empty: it shares them all.
    threads : int
        Processor threads that it may use.
    job : bytes
        A pickled `zoo.orca.wire.job.Job`.
    """

    directory: str
    host: str
    rank: int
    size: int
    cpus: tuple[int, ...]
    threads: int
    job: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict(Message):
    """The child must answer `Batches` with the model of a pickled `wire.job.PredictJob`."""

    job: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect(Message):
    """Where all ranks listen, and how to meet them.

    Parameters
    ----------
    addresses : tuple of Address or None
    timeout : float
        Seconds within which all must connect.
    secret : bytes
        The stage's.
    identity : str
        The stage's certificate and key (`zoo.orca.encryption`); empty: links are in clear.
    """

    addresses: tuple[Address | None, ...]
    timeout: float
    secret: bytes
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Message):
    """The rows have arrived, in `moved` seconds."""

    spooled: Spooled
    moved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches(Message):
    """Rows to predict: the pieces of an Arrow stream."""

    stream: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Message):
    """No more rows to predict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare(Message):
    """The child must import the framework of a pickled job, which will come later.

    Parameters
    ----------
    threads : int
        Processor threads that it may use.
    job : bytes
    """

    threads: int
    job: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver(Message):
    """Another task takes the child over, which must be silent until it hears from that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening(Message):
    """Where this child listens for its peers; None: it has no peers, or did not start."""

    address: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Message):
    """The model is ready to predict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions(Message):
    """A model's predictions for the rows of `Batches`, output by output.

    Parameters
    ----------
    shapes : tuple of tuple of int
    dtypes : tuple of str
        From `zoo.orca.wire.outputs.DTYPES`.
    sizes : tuple of int
        Bytes of each output.
    values : Payload
        All outputs, one after another: numbers as raw memory, text as an Arrow stream.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    sizes: tuple[int, ...]
    values: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Message):
    """The child is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver(Message):
    """The child's last word to the task that hands it over."""


ToChild = RunJob | Predict | Connect | Start | Batches | End | Decided | Prepare | HandOver
ToTask = Listening | Ready | Predictions | Beat | Progress | Outcome | Failure | HandedOver

TO_CHILD: Channel[ToChild] = Channel(
    *(RunJob, Predict, Connect, Start, Batches, End, Decided, Prepare, HandOver)
)
TO_TASK: Channel[ToTask] = Channel(
    *(Listening, Ready, Predictions, Beat, Outcome, Failure, HandedOver),
    *(Phase, EpochBegan, StepTaken, EpochEnded, EpochRecorded, Reported, LogLine, Warned),
)
