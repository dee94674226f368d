"""The table of mistakes that people make.

A case is a title, the call, and where it can be made: in which frameworks, in which sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.messages.world import FRAMEWORKS, SESSIONS, World


@dataclass(frozen=True)
class Case:
    """One mistake.

    Parameters
    ----------
    title : str
    make : callable
        Makes it in a world; raises what the user sees.
    frameworks, sessions : tuple of str
    """

    title: str
    make: Callable[[World], Any]
    frameworks: tuple[str, ...] = FRAMEWORKS
    sessions: tuple[str, ...] = SESSIONS


CASES: dict[str, Case] = {}


def case(title: str, **where: Any) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Enter a mistake into the table."""

    def enter(make: Callable[[World], Any]) -> Callable[[World], Any]:
        CASES[title] = Case(title, make, **where)
        return make

    return enter
