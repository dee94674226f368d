"""Values as bytes: creators as pickles, state as a header and raw tensors, long bytes as chunks.

Pickles go one way only, from the driver to the workers. What comes back is a JSON header and raw
numbers: reading it executes nothing. The format of the transport is not safetensors, the format of
saved files (`zoo.orca.driver.storage`), so that executors need no package beyond the framework.
"""

import contextlib
import functools
import importlib
import io
import json
import pickle
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from zoo.orca.errors import CreatorError, StateError
from zoo.orca.wire.modules import (
    Sources,
    install,
    is_installed,
    is_own,
    own_imports,
    sources_of,
    texts_of,
)

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
    because the executors do not have those files; so does whatever these refer to.

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
    try:
        return _dumps(value)
    except Exception as error:  # whatever an object's __reduce__ raises
        raise CreatorError(
            f"{what} cannot be sent to the workers, because it uses {find_unpicklable(value)}, "
            f"which cannot be pickled\nCreate that inside {what} instead of using it from outside"
        ) from error


def unpack(data: bytes) -> Any:
    """Return what `pack` packed. Only for bytes that came from the driver."""
    return pickle.loads(data)


def unpack_with_sources(sources: Sources, data: bytes) -> Any:
    """Return what a pickle holds that comes with the user's text; such pickles call this."""
    install(sources)
    return pickle.loads(data)


class _WithSources:
    """A pickle, and the text that belongs to it."""

    def __init__(self, sources: Sources, data: bytes) -> None:
        self._contents = sources, data

    def __reduce__(self) -> tuple[Any, ...]:
        return unpack_with_sources, self._contents


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, for which every module of the user's that it meets is one not installed."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        #: Modules that were registered for this pickle alone.
        self.registered: list[ModuleType] = []
        #: Names of modules that the workers will import.
        self.imported: set[str] = set()
        #: Files that functions are from.
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Register the module of a function or class before it is asked how that is pickled."""
        if isinstance(obj, CodeType):
            return self._code(obj)
        if isinstance(obj, ModuleType) and is_own(obj):
            self.imported.add(obj.__name__)
            return importlib.import_module, (obj.__name__,)
        if isinstance(obj, (FunctionType, type)):
            self._register(sys.modules.get(getattr(obj, "__module__", None) or ""))
        if isinstance(obj, FunctionType) and not is_installed(obj.__code__.co_filename):
            self.imported.update(own_imports(obj.__code__, obj.__globals__.get("__package__")))
        return super().reducer_override(obj)

    def _register(self, module: ModuleType | None) -> None:
        if module is None or not is_own(module):
            return
        if module.__name__ in _imported_there:
            self.imported.add(module.__name__)
        elif module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            self.registered.append(module)

    def _code(self, code: CodeType) -> tuple[Any, ...]:
        """Reduce a function's code with the name of its file, which cloudpickle leaves out.

        A worker's traceback names file and line as the user knows them, and AutoGraph reads there
        what it translates.
        """
        self.files.add(code.co_filename)
        make, arguments, *rest = self.dispatch_table[CodeType](code)
        named = (code.co_filename if one == _NO_FILE else one for one in arguments)
        return make, tuple(named), *rest


_NO_FILE = "<dynamic-code>"
#: cloudpickle's list of modules, and that of those imported there, are one for all threads.
_registry = threading.RLock()
#: Modules of the user's that some function imports when it runs. A class of such a module must be
#: the module's own there, not a copy: of two classes neither knows the other's objects.
_imported_there: set[str] = set()


def _dumps(value: Any) -> bytes:
    with _registry:
        pickler, data = _dumped(value)
        modules = sources_of(pickler.imported)
        if not _imported_there.issuperset(modules):
            _imported_there.update(modules)
            return _dumps(value)
    sources = Sources(modules, texts_of(pickler.files))
    return pickle.dumps(_WithSources(sources, data)) if sources else data


def _dumped(value: Any) -> tuple[_Pickler, bytes]:
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(value)
    finally:
        for module in pickler.registered:
            cloudpickle.unregister_pickle_by_value(module)
    return pickler, file.getvalue()


def find_unpicklable(value: Any) -> str:
    """Describe the object inside `value` that keeps it from being pickled."""
    path, found = _culprit(value, "", set())
    kind = type(found).__qualname__
    return f"{path!r} of type {kind}" if path else f"an object of type {kind}"


def _culprit(value: Any, path: str, seen: set[int]) -> tuple[str, Any]:
    """Return the innermost object that cannot be pickled, and the names that lead to it."""
    seen.add(id(value))
    for name, member in _members(value):
        if id(member) not in seen and _refusal(member) is not None:
            # The name by which a function knows it says enough of where it is.
            short = callable(value) or not path or not name
            return _culprit(member, (name or path) if short else f"{path}.{name}", seen)
    return path, value


def _refusal(value: Any) -> Exception | None:
    """Return what pickling an object raises, whatever that is; None if it can be pickled."""
    try:
        _dumps(value)
    except Exception as error:
        return error
    return None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object takes along: items, attributes, what a function refers to."""
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from (("", one) for one in (value.func, *value.args))
        yield from value.keywords.items()
    elif isinstance(value, MethodType):
        yield from (("", one) for one in (value.__func__, value.__self__))
    elif isinstance(value, FunctionType):
        yield from _referred_to(value)
    else:
        yield from getattr(value, "__dict__", {}).items()


def _referred_to(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to: its closure, the globals that it names, its defaults."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that is still empty
            yield name, cell.cell_contents
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
    yield from (("a default", one) for one in function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()
