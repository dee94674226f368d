"""JSON from outside: read within bounds, then compared with the form that it must have.

A `Check` is a function that raises `Unsound` for a value that does not have its form. The functions
here make checks of other checks. None of them changes a value or keeps one.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

Check = Callable[[Any], None]

#: The deepest nesting of lists and objects. Python's own limit depends on who calls.
MOST_LEVELS = 100
#: The largest whole number: every reader of JSON keeps it exactly.
LARGEST = 1 << 53


class Unsound(ValueError):
    """A value from outside that does not have its form; `path` leads to it."""

    def __init__(self, told: str, path: str = "") -> None:
        super().__init__(told)
        self.told, self.path = told, path

    def __str__(self) -> str:
        return f"{self.path or 'it'} {self.told}"

    def within(self, name: object) -> "Unsound":
        """Return the error with `name` put before its path."""
        shown = _short(str(name))
        return Unsound(self.told, f"{shown}.{self.path}" if self.path else shown)


def parse(text: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises
    ------
    Unsound
        If it is no JSON, is nested too deeply, or names something twice.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
        value = json.loads(decoded, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise Unsound("is nested too deeply") from error
    except Unsound:
        raise
    except ValueError as error:
        raise Unsound(f"is not JSON ({error})") from error
    check_levels(value)
    return value


def check_levels(value: Any) -> None:
    """Refuse what is nested too deeply, without going down into it by recursion."""
    level, here = 0, [value]
    while here:
        below: list[Any] = []
        for one in here:
            if isinstance(one, Mapping):
                below.extend(one.values())
            elif isinstance(one, (list, tuple)):
                below.extend(one)
        here = [one for one in below if isinstance(one, (Mapping, list, tuple))]
        level += 1
        if here and level >= MOST_LEVELS:
            raise Unsound("is nested too deeply")


def text(value: Any) -> None:
    """Check that a value is text."""
    if not isinstance(value, str):
        raise _not(value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        raise _not(value, "text") from None


def flag(value: Any) -> None:
    """Check that a value is true or false."""
    if not isinstance(value, bool):
        raise _not(value, "true or false")


def whole(lowest: int = 0, highest: int = LARGEST) -> Check:
    """Return a check for whole numbers within limits."""

    def check(value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _not(value, f"a whole number from {lowest} to {highest}")

    return check


def real(value: Any) -> None:
    """Check that a value is a number; a loss may also be NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _not(value, "a number")
    if isinstance(value, int) and abs(value) > LARGEST:  # more than a float may hold
        raise _not(value, "a number")


def rate(value: Any) -> None:
    """Check that a value may be a learning rate."""
    real(value)
    if not (math.isfinite(value) and value >= 0):
        raise _not(value, "a learning rate")


def one_of(names: Collection[str]) -> Check:
    """Return a check for one of several texts."""

    def check(value: Any) -> None:
        text(value)
        if value not in names:
            raise _not(value, f"one of {', '.join(names)}")

    return check


def optional(inner: Check) -> Check:
    """Return a check for null, or what `inner` takes."""

    def check(value: Any) -> None:
        if value is not None:
            inner(value)

    return check


def listed(inner: Check, most: int = LARGEST) -> Check:
    """Return a check for a list of at most so many."""

    def check(value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise _not(value, "a list")
        if len(value) > most:
            raise Unsound(f"has {len(value)} entries, and may have {most}")
        for number, one in enumerate(value):
            try:
                inner(one)
            except Unsound as error:
                raise error.within(number) from None

    return check


def row(*inner: Check) -> Check:
    """Return a check for a list with one value for each check."""

    def check(value: Any) -> None:
        if not isinstance(value, (list, tuple)) or len(value) != len(inner):
            raise _not(value, f"a list of {len(inner)}")
        for number, (one, its) in enumerate(zip(value, inner, strict=True)):
            try:
                its(one)
            except Unsound as error:
                raise error.within(number) from None

    return check


def mapping(inner: Check) -> Check:
    """Return a check for an object with any names."""

    def check(value: Any) -> None:
        as_object(value)
        for name, one in value.items():
            try:
                text(name)
                inner(one)
            except Unsound as error:
                raise error.within(name) from None

    return check


def record(required: Mapping[str, Check], may_have: Mapping[str, Check] | None = None) -> Check:
    """Return a check for an object with these names, and no others."""
    known = {**required, **(may_have or {})}

    def check(value: Any) -> None:
        as_object(value)
        for name in required:
            if name not in value:
                raise Unsound(f"has no {name}")
        for name, one in value.items():
            if name not in known:
                raise Unsound(f"has {_short(repr(name))}, which nothing reads")
            try:
                known[name](one)
            except Unsound as error:
                raise error.within(name) from None

    return check


def as_object(value: Any) -> None:
    """Check that a value is an object of JSON, a dict here."""
    if not isinstance(value, dict):
        raise _not(value, "an object")


def _not(value: Any, wanted: str) -> Unsound:
    return Unsound(f"is {_brief(value)}, not {wanted}")


def _brief(value: Any) -> str:
    """Return a value's beginning, without writing all of it."""
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, (str, bool, int, float)):
        return _short(repr(value[:50] if isinstance(value, str) else value))
    return f"a {type(value).__name__}"


def _short(shown: str) -> str:
    """Return the beginning of what is shown, in characters that any terminal has."""
    plain = shown.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= 50 else f"{plain[:47]}..."


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Unsound(f"has {_short(repr(name))} twice")
            seen.add(name)
    return found
