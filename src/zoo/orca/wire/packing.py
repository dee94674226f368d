"""Values as bytes: creators as pickles, state as a header and raw tensors, long bytes as chunks.

Pickles go one way only, from the driver to the workers. What comes back is a JSON header and raw
numbers: reading it executes nothing. The format of the transport is not safetensors, the format of
saved files (`zoo.orca.driver.storage`), so that executors need no package beyond the framework.
"""

import json
import pickle
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import CreatorError, StateError

#: Bytes of one row of a result: under the message limits of classic Spark and of Connect (4 MiB).
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
        JSON values: framework, epoch, step and whatever else the plug-in must find again.
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
            If `data` is something else, or cut short.
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
    """Pickle something of the user's for the workers.

    Functions and classes of modules that are not installed (the user's own files) travel by value,
    because the executors do not have those files.

    Parameters
    ----------
    value : object
    what : str
        The argument's name, for the error.

    Raises
    ------
    CreatorError
        If it cannot be pickled; names the object inside it that is in the way.
    """
    modules = _own_modules(value)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        packed: bytes = cloudpickle.dumps(value)
        return packed
    except Exception as error:  # whatever an object's __reduce__ raises
        culprit = find_unpicklable(value)
        raise CreatorError(
            f"{what} cannot be sent to the workers, because it uses {culprit}, which cannot be "
            f"pickled. Create that inside {what} instead of using it from outside."
        ) from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def unpack(data: bytes) -> Any:
    """Return what `pack` packed. Only for bytes that came from the driver."""
    return pickle.loads(data)


def _own_modules(value: Any) -> list[ModuleType]:
    """Return the modules of `value` (or its members) that lie outside every installed path."""
    members = value if isinstance(value, (list, tuple)) else [value]
    found: dict[str, ModuleType] = {}
    for member in members:
        for owner in (member, type(member)):
            module = sys.modules.get(getattr(owner, "__module__", None) or "")
            if module is not None and module.__name__ != "__main__" and _is_users(module):
                found[module.__name__] = module
    registered = cloudpickle.list_registry_pickle_by_value()
    return [module for name, module in found.items() if name not in registered]


def is_own_module(name: str) -> bool:
    """Whether a module that was imported here is the user's own file, not an installed one."""
    module = sys.modules.get(name)
    return module is not None and _is_users(module)


def _is_users(module: ModuleType) -> bool:
    path = getattr(module, "__file__", None)
    if path is None or module.__name__.partition(".")[0] == "zoo":
        return False
    installed = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(Path(path).is_relative_to(root) for root in installed if root)


def find_unpicklable(value: Any) -> str:
    """Describe the object inside `value` that keeps it from being pickled."""
    for name, member in _members(value):
        try:
            cloudpickle.dumps(member)
        except Exception as error:  # any __reduce__ may raise anything
            inner = find_unpicklable(member) if callable(member) else ""
            kind = type(member).__qualname__
            return inner if "'" in inner else f"'{name}' of type {kind} ({error})"
    return f"an object of type {type(value).__qualname__}"


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function takes along: closure cells, globals it names, defaults; or items."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    function = getattr(value, "__func__", value)
    code = getattr(function, "__code__", None)
    if code is None:
        yield from getattr(value, "__dict__", {}).items()
        return
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
