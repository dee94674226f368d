"""Errors that pyspark's daemon prints, and the one that it does not."""

import sys
import traceback
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from zoo.orca.worker.task.readers import forgive_gone_readers


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A program that is pyspark's daemon."""
    module = ModuleType("__main__")
    module.__spec__ = ModuleSpec("pyspark.daemon", None)
    module.traceback = traceback
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def printed(daemon: ModuleType, error: Exception, capsys) -> str:
    try:
        raise error
    except Exception:
        daemon.traceback.print_exc()
    return capsys.readouterr().err


def test_only_a_reader_that_is_gone_is_forgiven(daemon: ModuleType, capsys) -> None:
    assert "BrokenPipeError" in printed(daemon, BrokenPipeError(), capsys)
    for _ in range(2):  # each task of the worker does so
        forgive_gone_readers()
    assert printed(daemon, BrokenPipeError(), capsys) == ""
    assert printed(daemon, ConnectionResetError(), capsys) == ""
    assert "KeyError: 'x'" in printed(daemon, KeyError("x"), capsys)
    assert daemon.traceback.format_exc is traceback.format_exc


def test_the_daemon_may_be_a_module_of_another_program(daemon: ModuleType, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark.daemon", daemon)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    forgive_gone_readers()
    assert printed(daemon, BrokenPipeError(), capsys) == ""


def test_other_programs_are_left_alone(daemon: ModuleType) -> None:
    daemon.__spec__ = ModuleSpec("my.program", None)
    forgive_gone_readers()
    assert daemon.traceback is traceback
