"""Checks raise, or are noted one after another: `zoo.orca.refusals`."""

import threading

import pytest

from zoo.orca.errors import ColumnError, InvalidInputError
from zoo.orca.refusals import is_rehearsed, noted, ready, refuse, rehearsal


def check(value: int) -> int:
    if value < 0:
        refuse(InvalidInputError(f"{value} is below 0"))
        return 0
    return value


@noted(lambda: ["a stand-in"])
def columns(name: str) -> list[str]:
    if name == "none":
        raise ColumnError("there is no column")
    return [name]


def call(value: int, name: str) -> str:
    found = check(value), columns(name)
    ready(found)
    return f"ran with {found}"


def test_the_first_refusal_is_raised() -> None:
    with pytest.raises(InvalidInputError, match="-1 is below 0"):
        call(-1, "none")
    with pytest.raises(ColumnError, match="there is no column"):
        call(1, "none")
    assert call(1, "x") == "ran with (1, ['x'])"


def test_a_rehearsal_notes_all_and_runs_nothing() -> None:
    with rehearsal() as current:
        call(-1, "none")
    assert [str(one) for one in current.refused] == ["-1 is below 0", "there is no column"]
    assert current.request == (0, ["a stand-in"])
    with rehearsal() as current:
        call(1, "x")
    assert (current.refused, current.request) == ([], (1, ["x"]))


def test_what_is_raised_elsewhere_ends_it_and_is_noted_once() -> None:
    with rehearsal() as current:
        check(-1)
        raise InvalidInputError("-1 is below 0")
    assert [str(one) for one in current.refused] == ["-1 is below 0"]
    assert current.request is None


def test_a_stand_in_that_does_not_do_is_told_and_a_fault_is_not_hidden() -> None:
    with rehearsal() as current:
        check(-1)
        raise TypeError("a consequence")
    assert isinstance(current.stopped, TypeError)
    with pytest.raises(TypeError, match="a fault"), rehearsal():
        raise TypeError("a fault")
    assert not is_rehearsed()


def test_other_threads_do_not_notice() -> None:
    seen: list[str] = []

    def run() -> None:
        seen.append(call(1, "x"))

    with rehearsal():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert is_rehearsed()
    assert seen == ["ran with (1, ['x'])"]
