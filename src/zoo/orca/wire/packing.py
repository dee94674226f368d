"""Values as bytes: creators as pickles, state as a header and raw tensors, long bytes as chunks.

Pickles go one way only, from the driver to the workers. Workers send back a JSON header and raw
numbers: reading it executes nothing. Saved files are safetensors (`zoo.orca.driver.storage`). The
transport has its own format, so that executors need no package beyond the framework.
"""

import json
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import CreatorError, StateError
from zoo.orca.wire.pickling import dumps, find_culprit, is_sparks

#: Bytes of one row of a result, below the message limits of classic Spark and Connect (4 MiB).
CHUNK_BYTES = 1 << 20
_MAGIC = b"orca\x01"


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
            raise StateError("these bytes are not a state of zoo-orca")
        end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
        header = json.loads(data[start:end])
        tensors = {}
        for name, dtype, shape in header["tensors"]:
            kind, count = np.dtype(dtype), int(np.prod(shape, dtype=np.int64))
            if end + count * kind.itemsize > len(data):
                raise StateError(f"the state is cut short: tensor {name!r} is not complete")
            tensors[name] = np.frombuffer(data, kind, count, end).reshape(shape)
            end += count * kind.itemsize
        return cls(tensors, header["meta"])


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
    if what == "info":
        return "Leave it out of info, and make it inside the operator"
    return f"Create that inside {what} instead of using it from outside"


def unpack(data: bytes) -> Any:
    """Return what `pack` packed. Only for bytes that came from the driver."""
    return pickle.loads(data)
