"""What a call refuses: raised at once; in a rehearsal, noted, so that all of it is found.

A rehearsal runs a call's own checks, one after another, and nothing else. A check that refuses what
it was given calls `refuse`, or is `noted`; in a rehearsal the call then goes on with a value that
stands in for the refused one. Other threads notice nothing of a rehearsal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from zoo.orca.errors import OrcaError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@dataclass(kw_only=True)
class Rehearsal:
    """What a rehearsed call has come to.

    Parameters
    ----------
    refused : list of OrcaError
        What the call would raise, had it not been rehearsed: the first of them.
    request : object
        What the call would run; None while it has not come so far.
    unfit : set of str
        The names of refused columns, for which others stand in.
    stopped : Exception or None
        What the call stumbled over after it had refused something.
    """

    refused: list[OrcaError] = field(default_factory=list)
    request: Any = None
    unfit: set[str] = field(default_factory=set)
    stopped: Exception | None = None

    def note(self, error: OrcaError) -> None:
        """Note a refusal, once: several checks may look at one argument."""
        if str(error) not in map(str, self.refused):
            self.refused.append(error)


class Rehearsed(BaseException):
    """Ends a rehearsed call where it would begin to run; no error, and nobody's to catch."""


_current: ContextVar[Rehearsal | None] = ContextVar("zoo_orca_rehearsal", default=None)


@contextmanager
def rehearsal(current: Rehearsal | None = None) -> Iterator[Rehearsal]:
    """Rehearse the call within, which ends at `ready` if not before; go on with `current`."""
    current = Rehearsal() if current is None else current
    token = _current.set(current)
    try:
        yield current
    except Rehearsed:
        pass
    except OrcaError as error:
        current.note(error)
    except Exception as error:
        # A value that stands in for a refused one does not do everywhere.
        if not current.refused:
            raise
        current.stopped = error
    finally:
        _current.reset(token)


def is_rehearsed() -> bool:
    """Whether this call is a rehearsal, which leaves everything as it is."""
    return _current.get() is not None


def ready(request: Any) -> None:
    """End a rehearsed call here: this is what it would run."""
    current = _current.get()
    if current is not None:
        current.request = request
        raise Rehearsed


def refuse(error: OrcaError) -> None:
    """Raise an error; in a rehearsal, note it."""
    current = _current.get()
    if current is None:
        raise error
    current.note(error)


def stand_in_for(column: str) -> None:
    """Note that another column stands in for this one, which was refused."""
    current = _current.get()
    if current is not None:
        current.unfit.add(column)


def noted(
    otherwise: Callable[[], Any] = lambda: None,
) -> Callable[[Callable[_Parameters, _Result]], Callable[_Parameters, _Result]]:
    """Return a decorator: in a rehearsal, what a check raises is noted.

    Parameters
    ----------
    otherwise : callable
        Returns what then stands in for the check's result.
    """

    def decorate(check: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
        @wraps(check)
        def noting(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
            current = _current.get()
            if current is None:
                return check(*arguments, **named)
            try:
                return check(*arguments, **named)
            except OrcaError as error:
                current.note(error)
            instead: _Result = otherwise()
            return instead

        return noting

    return decorate
