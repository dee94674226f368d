"""A fork of this process keeps nothing that tells others of this process's end.

User code may fork: a pool of processes, a loader's workers. A child would live as long as a fork
that holds its pipes, and neighbours would ask at a door behind which nobody is.
"""

import os
import weakref
from collections.abc import Iterable
from typing import Protocol


class Forked(Protocol):
    """What has something that a fork is not to have."""

    def forked(self) -> None:
        """Let go of it; called in the fork, where there are no other threads."""


_KNOWN: weakref.WeakSet[Forked] = weakref.WeakSet()


def not_in_forks(one: Forked) -> None:
    """Call `forked` in forks of this process, as long as there is such an object."""
    _KNOWN.add(one)


def let_go(descriptors: Iterable[int]) -> None:
    """Close descriptors of a fork, and leave others in their place, which are closed later."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for one in descriptors:
        os.dup2(nothing, one, inheritable=False)
    os.close(nothing)


def _forked() -> None:
    for one in list(_KNOWN):
        one.forked()


os.register_at_fork(after_in_child=_forked)
