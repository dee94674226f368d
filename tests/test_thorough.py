"""What the whole suite leaves out is what it shows on another backend."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.thorough import is_thorough


def item(name: str, bench: str = "", *fixtures: str, marked: bool = False) -> Any:
    """A test as pytest collects it."""
    callspec = {"callspec": SimpleNamespace(params={"bench": bench})} if bench else {}
    return SimpleNamespace(
        path=Path(name),
        fixturenames=fixtures,
        get_closest_marker=lambda name: name if marked else None,
        **callspec,
    )


@pytest.mark.parametrize("family", ["tf2", "keras-jax", "pytorch"])
def test_every_framework_is_in_the_suite(family: str) -> None:
    assert not is_thorough(item("test_names.py", family, "keras_bench"))
    assert not is_thorough(item("test_transforms.py", family))


@pytest.mark.parametrize("family", ["keras-tensorflow", "keras-torch"])
def test_every_backend_of_keras_has_the_equalities(family: str) -> None:
    assert not is_thorough(item("test_equalities.py", family))
    assert not is_thorough(item("test_callbacks.py", family, "keras_bench"))


def test_repetitions_are_left_out() -> None:
    assert is_thorough(item("test_names.py", "keras-torch", "keras_bench"))
    assert is_thorough(item("test_transforms.py", "keras-tensorflow"))
    assert is_thorough(item("test_kills.py", marked=True))
    assert not is_thorough(item("test_transforms.py", "keras-torch"))
    assert not is_thorough(item("test_kills.py"))
