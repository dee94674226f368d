"""The messages between a task and the driver: text, one message a line."""

from dataclasses import dataclass

from zoo.orca.wire.messages.codec import Channel, Message
from zoo.orca.wire.messages.pipe import Address, Listening
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Message):
    """The rank that has connected to the driver, and its host; sent in the handshake."""

    rank: int
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present(Message):
    """A rank has arrived at the rendezvous.

    Parameters
    ----------
    task : int
        The number Spark gave this attempt of the task.
    size : int
        Tasks of the stage.
    address : tuple of str and int, or None
        Where the child listens; None if it did not start.
    """

    task: int
    size: int
    address: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskToGather(Message):
    """A rank asks that all enter Spark's `allGather`, and whether it still waits for somebody.

    Parameters
    ----------
    stage, task : int
        The numbers that Spark gave the rank's stage, and this attempt of its task.
    """

    stage: int
    task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving(Message):
    """A rank has nothing more to say. A connection that ends without it was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met(Message):
    """The driver's answer: whether to enter `allGather`, and all addresses once they are known.

    An answer without addresses means that not all ranks have arrived.
    """

    gather: bool
    addresses: tuple[Address | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Over(Message):
    """The driver's answer to a rank whose attempt of the stage has lost a task: nobody comes."""


ToDriver = Present | AskToGather | Leaving | Progress

TO_DRIVER: Channel[ToDriver] = Channel(
    *(
        Present,
        AskToGather,
        Leaving,
        Phase,
        EpochBegan,
        StepTaken,
        EpochEnded,
        EpochRecorded,
        Reported,
        LogLine,
        Warned,
    )
)
FromDriver = Met | Over | Decided
FROM_DRIVER: Channel[FromDriver] = Channel(Met, Over, Decided)
HELLO: Channel[Hello] = Channel(Hello)
#: The text that each task passes to Spark's `allGather`.
GATHERED: Channel[Listening] = Channel(Listening)
