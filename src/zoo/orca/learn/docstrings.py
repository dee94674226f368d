"""One description of each argument, for methods that share another's arguments and add more."""

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])

#: The heading of a docstring's parameters.
PARAMETERS = "Parameters\n----------\n"


def described_by(original: Callable[..., Any]) -> Callable[[AnyFunction], AnyFunction]:
    """Return a decorator: `help` shows `original`'s docstring with the method's own parameters.

    The method's own docstring describes only the parameters that it adds or changes.
    """

    def complete(function: AnyFunction) -> AnyFunction:
        before, common, after = parts(original)
        described = {**common, **parts(function)[1]}
        shown = [described[n] for n in inspect.signature(function).parameters if n in described]
        function.__doc__ = "".join([before, PARAMETERS, "\n".join(shown), after])
        return function

    return complete


def parts(function: Callable[..., Any]) -> tuple[str, dict[str, str], str]:
    """Return a docstring's text before its parameters, each parameter's lines, and the rest."""
    before, _, rest = (inspect.getdoc(function) or "").partition(PARAMETERS)
    parameters, blank, after = rest.partition("\n\n")
    blocks = re.split(r"\n(?=\S)", parameters)
    return before, {block.partition(" :")[0]: block for block in blocks}, blank + after
