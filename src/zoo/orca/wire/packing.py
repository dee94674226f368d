"""Values as bytes: creators as pickles, state as a header and raw tensors, long bytes as chunks.

Pickles go one way only, from the driver to the workers. Workers send back a JSON header and raw
numbers: reading it executes nothing. Saved files are safetensors (`zoo.orca.driver.storage`). The
transport has its own format, so that executors need no package beyond the framework.
"""

import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from zoo.orca.errors import CreatorError, StateError
from zoo.orca.wire.pickling import dumps, find_culprit, is_sparks
from zoo.orca.wire.saved.values import (
    LARGEST,
    Unsound,
    as_object,
    listed,
    one_of,
    parse,
    record,
    row,
    text,
    whole,
)

#: Bytes of one row of a result, below the message limits of classic Spark and Connect (4 MiB).
CHUNK_BYTES = 1 << 20
#: In a state's header: the bytes of gradients that a worker adds up with others in each step.
GRADIENT_BYTES = "gradient_bytes"
_MAGIC = b"orca\x01"
Tensors = dict[str, NDArray[Any]]

#: numpy's names of the dtypes that a tensor may have: numbers alone, never objects.
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_TENSOR = row(text, one_of(_DTYPES), listed(whole(), most=32))
_HEADER = record({"tensors": listed(_TENSOR), "meta": as_object})
_ANOTHER_COPY = "Read another copy of it, or an earlier one"


@dataclass(frozen=True, slots=True)
class State:
    """A model's state.

    Parameters
    ----------
    tensors : dict of str to array
        Weights as ``weights/NAME`` and optimizer variables as ``optimizer/NAME``, in order.
    meta : dict
        JSON values: framework, epoch, step and all else that the plug-in must restore.
    """

    tensors: dict[str, NDArray[Any]]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def to_bytes(self) -> bytes:
        """Return the state as bytes for another process of the same job."""
        tensors = [(name, t.dtype.name, t.shape) for name, t in self.tensors.items()]
        header = json.dumps({"tensors": tensors, "meta": self.meta}).encode()
        size = len(header).to_bytes(8, "little")
        return b"".join([_MAGIC, size, header, *(t.tobytes() for t in self.tensors.values())])

    @classmethod
    def from_bytes(cls, data: bytes) -> "State":
        """Read what `to_bytes` wrote; the tensors are read-only views of `data`.

        Raises
        ------
        StateError
            If `data` is not a state, or is cut short.
        """
        start = len(_MAGIC) + 8
        if data[: len(_MAGIC)] != _MAGIC:
            raise StateError(f"these bytes are not a state of zoo-orca\n{_ANOTHER_COPY}")
        end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
        if end > len(data):
            raise StateError(f"the state is cut short: its header is not complete\n{_ANOTHER_COPY}")
        try:
            header = parse(data[start:end])
            _HEADER(header)
            tensors = _tensors(data, end, header["tensors"])
        except Unsound as error:
            raise StateError(f"the state is damaged: {error}\n{_ANOTHER_COPY}") from error
        return cls(tensors, header["meta"])


def _tensors(data: bytes, start: int, told: Sequence[tuple[str, str, list[int]]]) -> Tensors:
    """Return views of the tensors that a header tells of; they lie one behind the other."""
    tensors: Tensors = {}
    for name, dtype, shape in told:
        # Python's numbers do not overflow.
        kind, count = np.dtype(dtype), prod(shape)
        if prod(max(length, 1) for length in shape) > LARGEST:  # numpy has no such axes
            raise Unsound("has axes too long for any memory", name[:50])
        end = start + count * kind.itemsize
        if end > len(data):
            raise StateError(
                f"the state is cut short: tensor {name[:50]!r} is not complete\n{_ANOTHER_COPY}"
            )
        if name in tensors:
            raise Unsound(f"has the tensor {name[:50]!r} twice")
        tensors[name] = np.frombuffer(data, kind, count, start).reshape(shape)
        start = end
    if start != len(data):
        raise Unsound(f"has {len(data) - start} bytes that belong to no tensor")
    return tensors


def sent_bytes(kind: DTypeLike) -> int:
    """Return the bytes of one number of a gradient: half precisions are sent as float32."""
    return 8 if np.dtype(kind) == np.float64 else 4


def split(data: bytes, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield `data` in pieces of at most `size` bytes; one empty piece for no data."""
    for start in range(0, max(len(data), 1), size):
        yield data[start : start + size]


def join(pieces: Iterable[bytes]) -> bytes:
    """Return the bytes that `split` cut."""
    return b"".join(pieces)


def pack(value: Any, what: str) -> bytes:
    """Pickle a value of the user for the workers.

    Functions and classes of modules that are not installed (the user's own files) travel by value,
    because the executors do not have those files. So does all that they refer to.

    Parameters
    ----------
    value : object
    what : str
        The argument's name, for the error.

    Raises
    ------
    CreatorError
        If it cannot be pickled; names the object inside it that is at fault.
    """
    try:
        return dumps(value)
    except Exception as error:  # whatever an object's __reduce__ raises
        path, culprit = find_culprit(value)
        kind = type(culprit).__qualname__
        found = f"{path!r} of type {kind}" if path else f"an object of type {kind}"
        raise CreatorError(
            f"{what} cannot be sent to the workers, because it uses {found}, which cannot be "
            f"pickled\n{_way_out(what, culprit)}"
        ) from error


def _way_out(what: str, culprit: Any) -> str:
    if is_sparks(culprit):
        return (
            "Spark is there in this program alone: collect what is needed of it before, and hand "
            "that over as plain values, in config"
        )
    if what == "config":
        return "Leave it out of config, and make it inside the creator"
    if what == "arguments":
        return "Leave it out of run's arguments, and make it inside train"
    if what == "info":
        return "Leave it out of info, and make it inside the operator"
    return f"Create that inside {what} instead of using it from outside"


def unpack(data: bytes) -> Any:
    """Return what `pack` packed. Only for bytes that came from the driver."""
    return pickle.loads(data)
