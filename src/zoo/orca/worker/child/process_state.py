"""Process-wide settings that user code may change, restored after each job.

A child serves several jobs, and each must find the process as if it were fresh. This module
restores Python's own settings. The plug-ins restore those of a framework
(`zoo.orca.frameworks.settings.fresh`).
"""

import contextlib
import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

#: How a setting is read and how it is restored.
_Setting = tuple[Callable[[], Any], Callable[[Any], Any]]


class ProcessState:
    """The process as it was when it was noted.

    Only the main thread uses it, because signals and the decimal context belong to that thread.
    """

    def __init__(self) -> None:
        self._noted: list[Any] = []
        self._warnings = contextlib.ExitStack()
        self.note()

    def note(self) -> None:
        """Note the process as a fresh one: with a framework imported, and nothing else."""
        self._noted = [get() for get, _ in _SETTINGS]
        self._warnings.close()
        self._warnings.enter_context(warnings.catch_warnings())

    def restore(self) -> None:
        """Restore the noted state of the process."""
        for (get, put), value in zip(_SETTINGS, self._noted, strict=True):
            if get() != value:
                put(value)
        self._warnings.close()
        self._warnings.enter_context(warnings.catch_warnings())
        # The random numbers of a fresh process are unpredictable.
        random.seed()
        np.random.seed()
        sys.settrace(None)
        sys.setprofile(None)


def _set_environment(values: dict[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)
    time.tzset()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # the job removed it
        return ""


def _set_working_directory(path: str) -> None:
    try:
        os.chdir(path)
    except FileNotFoundError:  # another process's directory, and it is gone
        os.chdir(os.sep)


def _set_in_place(owner: list[Any]) -> Callable[[list[Any]], None]:
    def put(value: list[Any]) -> None:
        owner[:] = value

    return put


def _attribute(owner: Any, name: str) -> _Setting:
    return lambda: getattr(owner, name, None), lambda value: setattr(owner, name, value)


def _handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(values: dict[int, Any]) -> None:
    for number, handler in values.items():
        # None: Python did not set this handler, so Python cannot restore it.
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _loggers() -> dict[str, tuple[Any, ...]]:
    known = logging.root.manager.loggerDict
    named = {name: one for name, one in known.items() if isinstance(one, logging.Logger)}
    return {
        name: (one.level, one.propagate, one.disabled, list(one.handlers), list(one.filters))
        for name, one in {"": logging.root, **named}.items()
    }


def _set_loggers(values: dict[str, tuple[Any, ...]]) -> None:
    """Restore loggers to what they had; new ones stay, because a module may own them."""
    for name, (level, propagate, disabled, handlers, filters) in values.items():
        logger = logging.getLogger(name) if name else logging.root
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled
        logger.handlers[:], logger.filters[:] = handlers, filters


def _umask() -> int:
    own = os.umask(0o077)
    os.umask(own)
    return own


def _set_alarm(value: tuple[float, float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, *value)


_SETTINGS: list[_Setting] = [
    (lambda: dict(os.environ), _set_environment),
    (_working_directory, _set_working_directory),
    (lambda: list(sys.path), _set_in_place(sys.path)),
    (lambda: list(sys.meta_path), _set_in_place(sys.meta_path)),
    (lambda: list(sys.argv), _set_in_place(sys.argv)),
    *(_attribute(sys, name) for name in ("stdin", "stdout", "stderr", "excepthook", "displayhook")),
    _attribute(threading, "excepthook"),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    (gc.get_threshold, lambda value: gc.set_threshold(*value)),
    (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    (_umask, os.umask),
    (lambda: signal.getitimer(signal.ITIMER_REAL)[:1], lambda value: _set_alarm((0.0, 0.0))),
    (_handlers, _set_handlers),
    (_loggers, _set_loggers),
    (lambda: logging.root.manager.disable, logging.disable),
    (logging.getLoggerClass, logging.setLoggerClass),
    (lambda: decimal.getcontext().copy(), lambda value: decimal.setcontext(value.copy())),
    (np.geterr, lambda value: np.seterr(**value)),
    (np.get_printoptions, lambda value: np.set_printoptions(**value)),
    (socket.getdefaulttimeout, socket.setdefaulttimeout),
    (
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda value: multiprocessing.set_start_method(value, force=True),
    ),
    _attribute(tempfile, "tempdir"),
]
