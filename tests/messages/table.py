"""The table of mistakes that people make.

A case is a title, the call, and where it can be made: in which frameworks, in which sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.messages.world import FRAMEWORKS, NO_FRAMEWORK, SESSIONS, World


@dataclass(frozen=True)
class Case:
    """One mistake.

    Parameters
    ----------
    title : str
    make : callable
        Makes it in a world; raises what the user sees.
    frameworks, sessions : tuple of str
    connect : str or None
        Whose message is looked at over Spark Connect; None for the first that it is quick to start.
        There it is Spark that hands errors on otherwise, whatever framework they are about.
    """

    title: str
    make: Callable[[World], Any]
    frameworks: tuple[str, ...] = FRAMEWORKS
    sessions: tuple[str, ...] = SESSIONS
    connect: str | None = None

    def places(self, session: str) -> tuple[str, ...]:
        """The frameworks that it is made with in a session of this kind."""
        if session not in self.sessions:
            return ()
        if session == "classic":
            return self.frameworks
        return (self.connect or min(self.frameworks, key=QUICKEST.index),)


#: Frameworks by the seconds that their import takes.
QUICKEST = (NO_FRAMEWORK, "torch", "keras", "tf2")
CASES: dict[str, Case] = {}


def case(title: str, **where: Any) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Enter a mistake into the table."""

    def enter(make: Callable[[World], Any]) -> Callable[[World], Any]:
        CASES[title] = Case(title, make, **where)
        return make

    return enter
