"""The messages between the Python workers of one executor, about a child that changes hands."""

from dataclasses import dataclass

from zoo.orca.wire.messages.codec import Channel, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildWanted(Message):
    """A task needs a child.

    Parameters
    ----------
    environment : dict
        The variables that the child must have been started with.
    fewest, most : int or None
        How many threads the child may have been started with; no `most`: any number above.
    """

    environment: dict[str, str]
    fewest: int
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Message):
    """The child is the other's from now on; its pipes follow.

    Parameters
    ----------
    process : int
    threads : int
        It was started with so many.
    temporary : str
        Its directory for temporary files.
    """

    process: int
    threads: int
    temporary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotGiven(Message):
    """There is no such child.

    Parameters
    ----------
    soon : bool
        There will be one when a prediction ends.
    changes : int
        How often a child has come or gone. Who asks one neighbour after the other may miss one that
        passes between them: there is none if they say twice that they have none, and nothing has
        changed meanwhile.
    """

    soon: bool
    changes: int


WANTED: Channel[ChildWanted] = Channel(ChildWanted)
ANSWERS: Channel[Given | NotGiven] = Channel(Given, NotGiven)
