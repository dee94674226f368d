"""How messages become bytes: a JSON header of typed fields, and for some messages raw bytes.

A message is a frozen dataclass. Its fields are numbers, text, members of a `StrEnum`, or tuples,
lists, dicts and dataclasses of those. Reading checks them against their types: bytes from another
process give this message or an error, and are never executed. One field may be bytes. They travel
after the header, neither copied nor encoded.

Layout of the bytes: a mark, header length (4 bytes), length of the raw bytes (8 bytes), both
little-endian; then both. A message without raw bytes may also travel as only the header's text.
"""

import io
import json
import struct
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import (
    Any,
    ClassVar,
    Generic,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from zoo.orca.errors import OrcaError

#: The raw bytes of a message: bytes, or a view of other memory.
Blob = bytes | memoryview

_MARK = b"orm\x01"
_FRAME = struct.Struct("<4sIQ")
_NONE = "this is no message of zoo-orca"


class MessageError(OrcaError):
    """Bytes that are not a message, or not one that is expected there."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Raw bytes in one or more pieces, sent without joining them; they arrive as one piece."""

    pieces: tuple[Blob, ...] = ()

    @property
    def whole(self) -> Blob:
        """All bytes; no copy if they have arrived as one piece."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


class Message:
    """Base of all messages; each is a frozen dataclass with keyword-only fields."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def to_text(self) -> str:
        """Return all fields except raw bytes as JSON without line breaks."""
        kind = type(self)
        named = {name: getattr(self, name) for name in _form(kind).readers}
        return _encoded({kind.__name__: named})

    def to_line(self) -> bytes:
        """Return `to_text` as one line of bytes."""
        return self.to_text().encode() + b"\n"

    def to_pieces(self) -> list[Blob]:
        """Return the bytes in pieces, without copying the raw bytes."""
        name = _form(type(self)).raw
        raw = getattr(self, name) if name else b""
        pieces = raw.pieces if isinstance(raw, Payload) else (raw,)
        blobs = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        header = self.to_text().encode()
        return [_FRAME.pack(_MARK, len(header), sum(map(len, blobs))), header, *blobs]

    def to_bytes(self) -> bytes:
        """Return the message as bytes."""
        return b"".join(self.to_pieces())


M = TypeVar("M", bound=Message)


class Channel(Generic[M]):
    """The kinds of message that may come one way; it refuses all else.

    Parameters
    ----------
    *kinds : type
    """

    def __init__(self, *kinds: type[M]) -> None:
        self._kinds: dict[str, type[M]] = {kind.__name__: kind for kind in kinds}

    def from_text(self, text: str | bytes, raw: bytes = b"") -> M:
        """Return the message of a header and the raw bytes that came with it.

        Raises
        ------
        MessageError
            If it is not a message of this channel.
        """
        try:
            # Decoded as UTF-8 here: json would look for other encodings first.
            values = json.loads(text if isinstance(text, str) else text.decode())
        except (ValueError, RecursionError) as error:
            raise MessageError(
                f"this is no message of zoo-orca: {_short(text)} ({error})"
            ) from error
        if not isinstance(values, dict) or len(values) != 1:
            raise MessageError(f"{_NONE}: {_short(text)}")
        (name, given), *_ = values.items()
        kind = self._kinds.get(name)
        if kind is None:
            raise MessageError(
                f"a message {name[:40]!r} came where {', '.join(self._kinds)} may come"
            )
        try:
            return cast(M, _read_fields(kind, given, raw))
        except _Misfit as misfit:
            where = ".".join([name, *misfit.path])
            raise MessageError(f"a message's {where} {misfit}") from None

    def from_bytes(self, data: bytes) -> M:
        """Return the message that `to_bytes` wrote.

        Raises
        ------
        MessageError
            If `data` is not a message, or is too short or too long.
        """
        stream = io.BytesIO(data)
        message = self.read(stream.read)
        if message is None or stream.tell() < len(data):
            raise MessageError(f"{len(data)} bytes are not one message of zoo-orca")
        return message

    def read(self, read: Callable[[int], bytes]) -> M | None:
        """Read one message from a stream; None if it ends, even within a message.

        Parameters
        ----------
        read : callable
            Returns as many bytes as asked, or fewer if the stream ends.

        Raises
        ------
        MessageError
            If it is not a message of this channel.
        """
        frame = read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return None
        mark, header_size, raw_size = _FRAME.unpack(frame)
        if mark != _MARK or raw_size > sys.maxsize:
            raise MessageError(f"{_NONE}: {_short(frame)}")
        header, raw = read(header_size), read(raw_size)
        if len(header) < header_size or len(raw) < raw_size:
            return None
        return self.from_text(header, raw)


def _short(text: str | bytes) -> str:
    return f"{text[:40]!r}{'...' if len(text) > 40 else ''}"


def _plain(value: Any) -> Any:
    """Return a JSON-serializable form of a value that JSON does not know."""
    if is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    raise TypeError(f"a message cannot hold a {type(value).__name__}: {value!r}")


#: Made once: `json.dumps` makes a new encoder for each call with options.
_encoded = json.JSONEncoder(default=_plain).encode

#: Returns the value that a JSON value stands for, or raises `_Misfit`.
Reader = Callable[[Any], Any]


class _Misfit(Exception):
    """A value does not have its field's type; `path` leads to it through the fields."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.path: list[str] = []

    def within(self, name: str) -> "_Misfit":
        """Return itself, with the field put before the path."""
        self.path.insert(0, name)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """The fields of a dataclass: readers of those in the header, and the name of the raw one."""

    readers: dict[str, Reader]
    required: frozenset[str]
    raw: str
    is_bare: bool


_FORMS: dict[type[Any], _Form] = {}


def _form(kind: type[Any]) -> _Form:
    """Return the fields of a dataclass; cached, because predictions send many messages."""
    form = _FORMS.get(kind)
    if form is None:
        hints = get_type_hints(kind)
        found = {one.name: one for one in fields(kind)}
        raw = next((name for name in found if hints[name] in (bytes, Payload)), "")
        named = {name: _reader(hints[name]) for name in found if name != raw}
        required = frozenset(
            name
            for name in named
            if found[name].default is MISSING and found[name].default_factory is MISSING
        )
        is_bare = bool(raw) and hints[raw] is bytes
        form = _FORMS[kind] = _Form(readers=named, required=required, raw=raw, is_bare=is_bare)
    return form


def _read_fields(kind: type[Any], given: Any, raw: bytes | None) -> Any:
    """Return the dataclass with these fields; `raw` is None if it cannot have raw bytes."""
    if type(given) is not dict:
        raise _wrong(given)
    form = _form(kind)
    readers = form.readers
    names = given.keys()
    if names != readers.keys() and not form.required <= names <= readers.keys():
        raise _Misfit(f"has the fields {list(given)!r} instead of {list(readers)!r}")
    values = {}
    for name, one in given.items():
        try:
            values[name] = readers[name](one)
        except _Misfit as misfit:
            raise misfit.within(name) from None
    if raw and not form.raw:
        raise _Misfit(f"came with {len(raw)} bytes, and has none")
    if raw is not None and form.raw:
        values[form.raw] = raw if form.is_bare else Payload((raw,))
    return kind(**values)


def _wrong(value: Any) -> _Misfit:
    return _Misfit(f"cannot be {_short(repr(value))}")


@cache
def _reader(hint: Any) -> Reader:
    """Return a reader that turns a JSON value into that type, or raises."""
    if hint in _SCALARS:
        return _scalar(_SCALARS[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _either([_reader(one) for one in arguments])
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        return _fixed([_reader(one) for one in arguments])
    if origin in (tuple, list):
        return _sequence(origin, _reader(arguments[0]))
    if origin is dict and arguments[0] is str:
        return _mapping(_reader(arguments[1]))
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: _read_fields(hint, value, None)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _member(hint)
    raise TypeError(f"a message cannot have a field of type {hint}")


#: The Python types that a JSON value may have, for each type. A bool is an int only to Python.
_SCALARS: Mapping[Any, tuple[type[Any], ...]] = {
    str: (str,),
    int: (int,),
    float: (float, int),
    bool: (bool,),
    types.NoneType: (types.NoneType,),
}


def _scalar(allowed: tuple[type[Any], ...]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) not in allowed:
            raise _wrong(value)
        return value

    return read


def _member(kind: type[StrEnum]) -> Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Any:
        if type(value) is not str or value not in members:
            raise _wrong(value)
        return members[value]

    return read


def _either(readers: Sequence[Reader]) -> Reader:
    def read(value: Any) -> Any:
        for one in readers[:-1]:
            try:
                return one(value)
            except _Misfit:
                continue
        return readers[-1](value)

    return read


def _fixed(readers: Sequence[Reader]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise _wrong(value)
        return tuple(one(item) for one, item in zip(readers, value, strict=True))

    return read


def _sequence(kind: Callable[[Any], Any], reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _wrong(value)
        return kind([reader(item) for item in value])

    return read


def _mapping(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _wrong(value)
        return {name: reader(item) for name, item in value.items()}

    return read
