"""Describes an exception in this process to the driver: its cause and the user's frames.

A traceback through a framework has dozens of frames, but only a few are the user's. The message
shows those. The whole traceback travels along.
"""

import importlib.util
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from traceback import FrameSummary, TracebackException

import zoo.orca
from zoo.orca.errors import MissingPackageError, OrcaError
from zoo.orca.wire.job import FULL_TRACEBACK
from zoo.orca.wire.messages.results import Failure
from zoo.orca.wire.modules import is_installed
from zoo.orca.worker.plain_words import MORE_MEMORY, plain, way_out

#: Packages whose version may differ from the driver's, by import name.
_VERSIONED = ("pyarrow", "numpy", "tensorflow", "tf_keras", "keras", "jax", "torch")
_PACKAGE = str(Path(zoo.orca.__file__).parent)
#: In the names of TensorFlow's generated files. They are not the user's, and are gone by now.
_GENERATED = "__autograph_generated_file"
#: The endings of Cython's sources.
_CYTHON = (".pyx", ".pxi", ".pxd")
#: How many causes of causes are described.
_MOST_CAUSES = 3


def describe(error: BaseException) -> Failure:
    """Return the driver's description of an exception in this process."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, ModuleNotFoundError) and _is_missing(error.name):
        error = missing(error, "")
    if isinstance(error, OrcaError):
        kind, message, where = type(error).__name__, str(error), users_part(error, outermost=False)
    else:
        kind = "WorkerError"
        message, quoted = plain(type(error).__name__, str(error), _is_users)
        where = "\n".join(quoted) or users_part(error, outermost=False)
        where = where or way_out(message) or users_part(error)
        if isinstance(error, MemoryError):
            where = f"{MORE_MEMORY}\n{where}"
    if FULL_TRACEBACK in os.environ:
        where = trace.rstrip()
    return Failure(
        error=kind,
        message=message,
        traceback=trace,
        where=where,
        versions=versions(),
        module=_missing_module(error),
    )


def missing(error: ModuleNotFoundError, framework: str) -> Exception:
    """Return the error for a missing package, of `framework` or any other.

    A missing module of this package is our own bug, so its error stays as it is.
    """
    if error.name is None or error.name.startswith("zoo."):
        return error
    package = f"'zoo-orca[{framework}]'" if framework else error.name.partition(".")[0]
    found = MissingPackageError(
        f"the package {error.name!r} is not installed on the worker {socket.gethostname()}, whose "
        f"Python is {sys.executable}\n"
        f"Install it there: {sys.executable} -m pip install {package}; or let PYSPARK_PYTHON name "
        "a Python that has it"
    )
    found.__cause__ = error
    return found


def versions() -> dict[str, str]:
    """Return the versions of the imported packages, to compare with the driver's."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _VERSIONED:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            # The part after the plus is the build's target, such as cpu.
            found[name] = version.partition("+")[0]
    return found


def users_part(error: BaseException, *, outermost: bool = True) -> str:
    """Return the frames of an exception, and of its causes, that are in the user's own files.

    If there are none, the framework's innermost frame replaces them. With `outermost` False it does
    not: Orca's own errors need no frame.
    """
    chain = list(_chain(TracebackException.from_exception(error)))
    parts = []
    for number, one in enumerate(chain):
        frames = [frame for frame in one.stack if _is_users(frame.filename)]
        if frames and number:
            parts.append(f"  caused by {_only(one)}")
        parts += [_formatted(frame) for frame in frames]
    if not parts and outermost:
        theirs = [
            frame
            for frame in chain[0].stack
            if not frame.filename.startswith(_PACKAGE) and _GENERATED not in frame.filename
        ]
        parts = [_formatted(frame) for frame in theirs[-1:]]
    return "\n".join(parts)


def _chain(error: TracebackException) -> Iterator[TracebackException]:
    for _ in range(_MOST_CAUSES):
        yield error
        shown = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if shown is None:
            return
        error = shown


def _only(error: TracebackException) -> str:
    return next(iter(error.format_exception_only())).strip()


def _is_users(path: str) -> bool:
    if path.startswith((_PACKAGE, "<frozen ")) or _GENERATED in path:
        return False
    return not is_installed(path) and not _is_compiled(path)


def _is_compiled(path: str) -> bool:
    """Whether a file is what Cython made an installed package of, named from the package on."""
    package = sys.modules.get(path.partition("/")[0])
    return path.endswith(_CYTHON) and package is not None and is_installed(package.__file__)


def _formatted(frame: FrameSummary) -> str:
    name = f'  File "{_short(frame.filename)}", line {frame.lineno}, in {frame.name}'
    return f"{name}\n    {frame.line}" if frame.line else name


def _short(path: str) -> str:
    """Shorten an installed package's file to its path in the package; keep the user's as it is."""
    head, separator, tail = path.rpartition(f"{os.sep}site-packages{os.sep}")
    return tail if separator else path


def _is_missing(name: str | None) -> bool:
    """Whether the module's whole package is missing."""
    if not name or name in sys.modules:
        return False
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is None
    except (ImportError, ValueError):
        return False


def _missing_module(error: BaseException | None) -> str:
    """Return the name of the module that was not found, if that is the error."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name or ""
        error = error.__cause__
    return ""
