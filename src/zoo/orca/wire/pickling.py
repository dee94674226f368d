"""Pickles of what users write: functions, classes and modules that no worker has installed.

cloudpickle sends functions and classes of the main program by value. This module does so for all of
the user's modules that a pickle reaches. The source text goes along, for modules that a function
imports when it runs, and for tracebacks.
"""

import contextlib
import dis
import functools
import importlib
import inspect
import io
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle

from zoo.orca.wire.modules import (
    Sources,
    install,
    is_installed,
    is_own,
    own_imports,
    sources_of,
    texts_of,
)

#: Classes of pyspark whose objects are handles on this program's session.
_STAY = {"DataFrame", "RDD", "SparkContext", "SparkSession"}


def unpack_with_sources(sources: Sources, data: bytes) -> Any:
    """Install the user's source text, then unpickle; pickles that carry text call this."""
    install(sources)
    return pickle.loads(data)


class _WithSources:
    """A pickle and its source text."""

    def __init__(self, sources: Sources, data: bytes) -> None:
        self._contents = sources, data

    def __reduce__(self) -> tuple[Any, ...]:
        return unpack_with_sources, self._contents


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's pickler, which here sends every module of the user by value."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        #: Modules that were registered only for this pickle.
        self.registered: list[ModuleType] = []
        #: Names of modules that the workers will import.
        self.imported: set[str] = set()
        #: Files that define the functions.
        self.files: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        """Register the module of a function or class before cloudpickle reduces it."""
        if isinstance(obj, CodeType):
            return self._code(obj)
        if is_sparks(obj):
            # Over Spark Connect it could be pickled, and would act as a second program there.
            raise pickle.PicklingError(f"{type(obj).__name__} is there in this program alone")
        if isinstance(obj, ModuleType) and is_own(obj):
            self.imported.add(obj.__name__)
            return importlib.import_module, (obj.__name__,)
        if isinstance(obj, (FunctionType, type)):
            self._register(sys.modules.get(getattr(obj, "__module__", None) or ""))
        if isinstance(obj, FunctionType) and not is_installed(obj.__code__.co_filename):
            self.imported.update(own_imports(obj.__code__, obj.__globals__.get("__package__")))
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and reduced is not NotImplemented:
            missed = _named_in_classes(obj)
            if missed:  # reduced[2] is the function's state, set once it is made
                reduced[2][1]["__globals__"].update(missed)
        return reduced

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

        A worker's traceback then names the user's file and line, and AutoGraph finds the source
        that it translates.
        """
        self.files.add(code.co_filename)
        make, arguments, *rest = self.dispatch_table[CodeType](code)
        named = (code.co_filename if one == _NO_FILE else one for one in arguments)
        return make, tuple(named), *rest


_NO_FILE = "<dynamic-code>"
#: All threads share cloudpickle's list of modules and `_imported_there`.
_registry = threading.RLock()
#: The user's modules that some function imports when it runs. A class of such a module must not
#: travel by value: a worker would have two classes, and neither would accept the other's objects.
_imported_there: set[str] = set()


def dumps(value: Any) -> bytes:
    """Pickle a value of the user, with all of the user's code that it needs elsewhere."""
    with _registry:
        pickler, data = _dumped(value)
        # In an order that is the same in every process, as the pickle is then.
        modules = sources_of(sorted(pickler.imported))
        if not _imported_there.issuperset(modules):
            _imported_there.update(modules)
            return dumps(value)
    sources = Sources(modules, texts_of(sorted(pickler.files)))
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


def find_culprit(value: Any) -> tuple[str, Any]:
    """Return the names that lead from `value` to what cannot be pickled, and that object."""
    return _culprit(value, "", set())


def _culprit(value: Any, path: str, seen: set[int]) -> tuple[str, Any]:
    seen.add(id(value))
    for name, member in _members(value):
        if id(member) not in seen and _refusal(member) is not None:
            # The name that a function uses for it says enough about where it is.
            short = callable(value) or not path or not name
            return _culprit(member, (name or path) if short else f"{path}.{name}", seen)
    return path, value


def _refusal(value: Any) -> Exception | None:
    """Return the exception that pickling an object raises; None if it can be pickled."""
    try:
        dumps(value)
    except Exception as error:
        return error
    return None


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is pickled with an object: items, attributes, what a function refers to."""
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
    elif _is_users_object(value):
        yield from getattr(value, "__dict__", {}).items()


def _is_users_object(value: Any) -> bool:
    """Whether the user's code defines an object's class, so that the user knows its parts."""
    module = sys.modules.get(type(value).__module__)
    return module is None or module.__name__ == "__main__" or is_own(module)


def _referred_to(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to: its closure, the globals that it names, its defaults."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            yield name, cell.cell_contents
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
    yield from _named_in_classes(function).items()
    yield from (("a default", one) for one in function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()


def _named_in_classes(function: FunctionType) -> dict[str, Any]:
    """Return the globals that class bodies inside a function name.

    A class body looks up the annotations and defaults of its methods by another bytecode operation
    than a function does, and cloudpickle ignores that one.
    """
    names = {
        step.argval
        for code in _codes_inside(function.__code__)
        if not code.co_flags & inspect.CO_OPTIMIZED
        for step in dis.get_instructions(code)
        if step.opname in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }
    known = function.__globals__
    return {name: known[name] for name in names if name in known}


def _codes_inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_inside(constant)


def is_sparks(value: Any) -> bool:
    """Whether an object belongs to a Spark session, such as a DataFrame, and cannot travel."""
    classes = type(value).__mro__
    return any(one.__module__.startswith("pyspark.") and one.__name__ in _STAY for one in classes)
