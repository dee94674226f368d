"""JSON from outside, and the forms that it may have."""

import pytest

from zoo.orca.wire.saved.values import (
    LARGEST,
    MOST_LEVELS,
    Check,
    Unsound,
    flag,
    listed,
    mapping,
    one_of,
    optional,
    parse,
    rate,
    real,
    record,
    row,
    text,
    whole,
)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def test_nesting_is_bounded_whoever_calls() -> None:
    assert parse(nested(MOST_LEVELS)) is not None
    for levels in (MOST_LEVELS + 1, 900, 100_000):
        with pytest.raises(Unsound, match="^it is nested too deeply$"):
            parse(nested(levels))


@pytest.mark.parametrize("given", ["", "{", "[1,]", "9" * 5000, b"\xff", '{"a": 1} 2'])
def test_what_is_no_json(given: str | bytes) -> None:
    with pytest.raises(Unsound, match=r"^it is not JSON \(.*\)$"):
        parse(given)


def test_a_name_may_come_once() -> None:
    with pytest.raises(Unsound, match="^it has 'b' twice$"):
        parse('[{"a": {"b": 1, "c": 2, "b": 1}}]')


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (text, ["", "\u00e9"], [None, 1, b"a", "\ud800"]),
        (flag, [True, False], [0, 1, None, "true"]),
        (whole(), [0, LARGEST], [-1, LARGEST + 1, True, 1.0, "1", None]),
        (whole(2, 3), [2, 3], [1, 4]),
        (real, [0, -1.5, float("nan"), float("inf")], [True, "1", None, 10**400]),
        (rate, [0, 0.1], [-0.1, float("nan"), float("inf"), True, 10**400]),
        (one_of(("a", "b")), ["a", "b"], ["c", 1, None, ["a"]]),
        (optional(text), [None, "a"], [1]),
        (listed(whole(), 2), [[], [1], (1, 2)], [[1, 2, 3], ["a"], "ab", {}, None]),
        (row(text, whole()), [["a", 1]], [["a"], ["a", 1, 2], [1, "a"], None]),
        (mapping(whole()), [{}, {"a": 1}], [{1: 1}, {"a": "b"}, [], None]),
        (record({"a": text}, {"b": flag}), [{"a": ""}, {"a": "", "b": True}], [{}, {"b": True}]),
        (record({}), [{}], [{"a": 1}, [], None]),
    ],
)
def test_forms(check: Check, good: list, bad: list) -> None:
    for value in good:
        check(value)
    for value in bad:
        with pytest.raises(Unsound):
            check(value)


def test_the_way_to_a_value_is_told_in_plain_characters() -> None:
    check = record({"a": listed(mapping(whole()))})
    with pytest.raises(Unsound) as caught:
        check({"a": [{}, {"\u00e9\u2028": "x" * 1000}]})
    assert str(caught.value).startswith(r"a.1.\xe9\u2028 is 'xxxx")
    assert len(str(caught.value)) < 150
