"""Calls on a DataFrame whose Spark session ends, or has ended: one error that says so."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from pyspark.sql import DataFrame

from zoo.orca.context.sessions import known_session
from zoo.orca.driver.reports.failures import check_session, ended_session
from zoo.orca.errors import OrcaError
from zoo.orca.learn.forms.wording import reword_for

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def needs_session(call: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Let a method that takes rows say that their session has ended.

    pyspark has no error of its own for that: it stumbles over attributes that are None, and its
    assertions have no text.
    """

    @wraps(call)
    def checked(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
        given = (*arguments[1:], *named.values())
        frame = next((one for one in given if isinstance(one, DataFrame)), None)
        # Rows of another form go to the session that runs, or to one that the call starts.
        session = known_session() if frame is None else frame.sparkSession
        if session is not None:
            check_session(session)
        try:
            return call(*arguments, **named)
        except OrcaError as error:
            reword_for(error, call, arguments, named)
            raise
        except Exception as error:  # an attribute of None, an assertion: whatever comes first
            ended = None if session is None else ended_session(error, session)
            if ended is None:
                raise
            raise ended from error

    return checked
