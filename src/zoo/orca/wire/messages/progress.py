"""What is worth showing while a stage runs: from rank 0 alone, and what is printed from all ranks.

They go from the plug-in through child and task to the driver's display.
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
    """An epoch begins, counted from 0, of which `steps` are to come."""

    epoch: int
    epochs: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken(Progress):
    """An epoch has come to its step `step`; rows, seconds and values are those of the epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    rows: int = 0
    seconds: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded(Progress):
    """An epoch has ended after `steps` steps."""

    epoch: int
    epochs: int
    steps: int
    rows: int = 0
    seconds: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine(Progress):
    """A line that a worker printed."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Progress):
    """Something the user should know, which stops nothing."""

    text: str
