"""Imports of the original's modules that are not here end in one error that says what to use."""

import importlib
import re
import sys

import pytest

import zoo.orca
from zoo.orca.errors import MissingPackageError
from zoo.orca.gone.finder import GoneModules, tell_of_gone_modules


@pytest.mark.parametrize("name", GoneModules.instead)
def test_a_module_that_is_gone(name):
    importlib.import_module(name.rpartition(".")[0])
    for module in (name, f"{name}.estimator"):
        with pytest.raises(ImportError) as caught:
            importlib.import_module(module)
        first, way = str(caught.value).split("\n")
        assert isinstance(caught.value, MissingPackageError)
        assert first == f"{name} of the original is not here"
        assert way


@pytest.mark.parametrize("way", sorted(set(GoneModules.instead.values())))
def test_what_it_says_to_use_is_there(way):
    for word in re.findall(r"zoo[.\w]*\w", way):
        module, _, names = word.partition(".Estimator")
        found = importlib.import_module(module)
        assert not names or hasattr(found.Estimator, names.removeprefix("."))


def test_a_module_that_never_was_is_told_by_python():
    with pytest.raises(ModuleNotFoundError, match=r"zoo\.orca\.learn\.nowhere"):
        importlib.import_module("zoo.orca.learn.nowhere")


def test_it_is_asked_last_and_once():
    tell_of_gone_modules()
    finders = [one for one in sys.meta_path if isinstance(one, GoneModules)]
    assert len(finders) == 1
    assert zoo.orca.__name__ == "zoo.orca"
