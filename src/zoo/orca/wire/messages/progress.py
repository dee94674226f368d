"""What a stage tells while it runs: progress of rank 0, and printed lines of all ranks.

The messages go from the plug-in through child and task to the driver's display.
"""

from dataclasses import dataclass, field

from zoo.orca.wire.messages.codec import Message


class Progress(Message):
    """One thing worth showing on the driver."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Progress):
    """What a worker does now."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochBegan(Progress):
    """An epoch of `steps` steps begins, 0 if that is not known; epochs count from 0."""

    epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSoFar(Progress):
    """What an epoch has come to after `steps` steps: rows, seconds and values."""

    steps: int
    rows: int = 0
    seconds: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken(EpochSoFar):
    """An epoch goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(EpochSoFar):
    """An epoch has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecorded(Progress):
    """An epoch is in the history, with these values; none of these messages is ever dropped.

    Parameters
    ----------
    epoch : int
        Counts from 1, over all calls of `fit`.
    logs : dict of str to float
    asks : bool
        Whether rank 0 waits for a `Decided`.
    """

    epoch: int
    logs: dict[str, float] = field(default_factory=dict)
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Message):
    """The answer to an `EpochRecorded` that asks: whether the training ends with this epoch.

    Parameters
    ----------
    epoch : int
        The epoch's number; 0 if no answer will ever come.
    stop : bool
    problem : str
        Why no answer will come.
    """

    epoch: int
    stop: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Progress):
    """How far a user's own loop is: its step, of how many if that is known, and its values.

    The last one of a job is shown even if another one was shown just before.
    """

    step: int
    steps: int = 0
    logs: dict[str, float] = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine(Progress):
    """A line that a worker printed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Progress):
    """A warning for the user; the job continues."""

    text: str
