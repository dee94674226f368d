"""Every message comes back as it went, and what is no message is one clear error."""

import io
import json
import re
import types
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.orca.wire.messages import line, neighbours, pipe, results, rows
from zoo.orca.wire.messages.codec import Channel, Message, MessageError, Payload

pytestmark = pytest.mark.timeout(120)

CHANNELS: list[Channel[Any]] = [
    pipe.TO_CHILD,
    pipe.TO_TASK,
    line.TO_DRIVER,
    line.FROM_DRIVER,
    line.HELLO,
    line.GATHERED,
    results.RESULTS,
    results.TIMINGS,
    rows.TO_PEERS,
    neighbours.WANTED,
    neighbours.ANSWERS,
]
MESSAGES = [(channel, kind) for channel in CHANNELS for kind in channel._kinds.values()]

each_message = pytest.mark.parametrize(
    ("channel", "kind"), MESSAGES, ids=[kind.__name__ for _, kind in MESSAGES]
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    types.NoneType: st.none(),
    bytes: st.binary(max_size=40),
    Payload: st.binary(max_size=40).map(lambda raw: Payload((raw,))),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """A strategy of values of that type."""
    if hint in SCALARS:
        return SCALARS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is types.UnionType:
        return st.one_of([values_of(one) for one in arguments])
    if origin is tuple and arguments[1:] != (Ellipsis,):
        return st.tuples(*map(values_of, arguments))
    if origin in (tuple, list):
        return st.lists(values_of(arguments[0]), max_size=3).map(origin)
    if origin is dict:
        return st.dictionaries(values_of(str), values_of(arguments[1]), max_size=3)
    if issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    hints = get_type_hints(hint)
    return st.builds(hint, **{one.name: values_of(hints[one.name]) for one in fields(hint)})


@each_message
@given(data=st.data())
def test_every_message_comes_back_as_it_went(
    channel: Channel[Any], kind: type[Message], data: st.DataObject
) -> None:
    message = data.draw(values_of(kind))
    assert channel.from_bytes(message.to_bytes()) == message
    stream = io.BytesIO(2 * message.to_bytes())
    assert [channel.read(stream.read) for _ in range(3)] == [message, message, None]
    assert "\n" not in message.to_text()
    if not any(one.type in (bytes, Payload) for one in fields(message)):
        assert channel.from_text(message.to_line()) == message


@each_message
@given(data=st.data())
def test_a_message_that_was_cut_or_changed_is_refused_or_another_message(
    channel: Channel[Any], kind: type[Message], data: st.DataObject
) -> None:
    raw = data.draw(values_of(kind)).to_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(MessageError):
        channel.from_bytes(raw[:cut])
    with pytest.raises(MessageError):
        channel.from_bytes(raw + b"x")
    changed = bytearray(raw)
    changed[cut] ^= data.draw(st.integers(1, 255))
    try:
        assert type(channel.from_bytes(bytes(changed))) in channel._kinds.values()
    except MessageError:
        return


@given(raw=st.binary(max_size=80))
def test_rubbish_is_refused(raw: bytes) -> None:
    for channel in CHANNELS:
        for read in (channel.from_bytes, channel.from_text):
            with pytest.raises(MessageError):
                read(raw)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no message of zoo-orca: ''"),
        ("[" * 100_000, "no message of zoo-orca"),
        ("[]", "no message of zoo-orca: '[]'"),
        ("{}", "no message of zoo-orca"),
        ('{"Hello": {"rank": 1}, "Met": {}}', "no message of zoo-orca"),
        ('{"Outcome": {}}', "a message 'Outcome' came where Hello may come"),
        ('{"Hello": {}}', "Hello has the fields [] instead of ['rank', 'host']"),
        ('{"Hello": {"rank": 1, "evil": 2}}', "Hello has the fields ['rank', 'evil']"),
        ('{"Hello": [1]}', "a message's Hello cannot be"),
        ('{"Hello": {"rank": "1"}}', "Hello.rank cannot be"),
        ('{"Hello": {"rank": true}}', "Hello.rank cannot be 'True'"),
        ('{"Hello": {"rank": 1.5}}', "Hello.rank cannot be '1.5'"),
        (b"\xff", "no message of zoo-orca"),
    ],
)
def test_what_is_wrong_with_a_message_is_named(text: str | bytes, told: str) -> None:
    with pytest.raises(MessageError, match=re.escape(told)):
        line.HELLO.from_text(text)


def test_raw_bytes_are_sent_in_their_pieces_and_arrive_as_one() -> None:
    pieces = (b"a" * 1000, memoryview(b"bcd"), b"")
    sent = pipe.Batches(stream=Payload(pieces)).to_pieces()
    assert sent[2].obj is pieces[0] and sent[3].obj is pieces[1].obj
    received = pipe.TO_CHILD.from_bytes(b"".join(sent))
    assert received.stream.pieces == (b"a" * 1000 + b"bcd",)
    assert received.stream.whole is received.stream.pieces[0]


def test_a_header_does_not_hold_raw_bytes() -> None:
    outcome = pipe.Predict(job=b"secret")
    assert json.loads(outcome.to_text()) == {"Predict": {}}
    with pytest.raises(MessageError, match="Beat came with 3 bytes"):
        pipe.TO_TASK.from_text(pipe.Beat().to_text(), b"abc")


def test_numbers_that_json_lacks_travel() -> None:
    logs = {"inf": float("inf"), "nan": float("nan")}
    warned = line.StepTaken(steps=1, logs=logs)
    assert str(line.TO_DRIVER.from_text(warned.to_line()).logs) == str(logs)


@each_message
def test_messages_are_frozen_values_by_keyword(channel: Channel[Any], kind: type[Message]) -> None:
    assert is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert all(one.kw_only for one in fields(kind))
    assert "__slots__" in vars(kind)
